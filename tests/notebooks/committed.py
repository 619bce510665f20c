"""The notebooks as git has them: tests judge these cells, and not what a learner has made of the files."""

import subprocess
from pathlib import Path

import nbformat

from notebooks import lab

ROOT = lab.NOTEBOOKS.parent


def notebooks() -> dict[str, str]:
    """The text of each notebook by its path in the repository, as `git add` has it; without git, as the files are."""
    listed = _git("ls-files", "--", "notebooks/[0-9][0-9]_*.ipynb")
    if not listed:
        return {str(path.relative_to(ROOT)): path.read_text() for path in lab.notebooks()}
    return {path: _git("show", f":{path}") for path in sorted(listed.splitlines())}


def parsed() -> dict[str, nbformat.NotebookNode]:
    """The same, read; by the stem of the file's name."""
    return {Path(path).stem: nbformat.reads(text, nbformat.NO_CONVERT) for path, text in notebooks().items()}


def write(folder: Path, *numbers: str) -> list[Path]:
    """Write the notebooks with these `numbers` into `folder`."""
    paths = []
    for path, text in notebooks().items():
        if Path(path).stem[:2] in numbers:
            paths.append(folder / Path(path).name)
            paths[-1].write_text(text)
    return paths


def _git(*words: str) -> str:
    """What git says; nothing outside a repository, or without git."""
    try:
        ended = subprocess.run(["git", *words], cwd=ROOT, check=False, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        return ""
    return ended.stdout if ended.returncode == 0 else ""
