"""Folders as learners have them: a server that is right, with one thing changed if a test wants it wrong."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "servers" / "notes.py"
NewFolder = Callable[..., Path]


@pytest.fixture
def new_folder(tmp_path: Path) -> NewFolder:
    """Makes a folder with a server; `right` in its source is replaced by `wrong`, and the rest is for practice.toml."""

    def new(right: str = "", wrong: str = "", command: str | None = None, more: str = "", name: str = "notes") -> Path:
        source = SOURCE.read_text()
        assert right in source
        folder = tmp_path / name
        folder.mkdir()
        (folder / "notes.py").write_text(source.replace(right, wrong) if right else source)
        command = command or f"{sys.executable} notes.py --port {{port}} --data {{data}}"
        (folder / "practice.toml").write_text(f"[server]\ncommand = '''{command}'''\n{more}")
        return folder

    return new
