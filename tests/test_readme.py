"""The README is true: its commands exist, its flags parse, its examples run, its links lead somewhere."""

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.servers import Server
from notebooks import lab
from server.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line]
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LINKS = re.findall(r"\]\((?!https?://)([^)]+)\)", README)
URL = "http://127.0.0.1:8000"


def beginning_with(word: str, *places: list[str]) -> list[str]:
    """The commands in `places` that begin with `word`, without their comments."""
    lines = [line.split("  #")[0].strip() for place in places for line in place]
    return sorted({line for line in lines if line.startswith(word)})


def parse(module: str, words: list[str]) -> None:
    """Let the command of `module` read its arguments, and go no further."""
    command = importlib.import_module(f"{module}.__main__").command
    if isinstance(command, click.Group) and words:
        command = command.commands[words.pop(0)]
    if words and words != ["--help"]:
        command.make_context(module, words).close()


def run(line: str, server: Server) -> str:
    """Run a line in a shell that, as zsh does, refuses a pattern which matches no file."""
    line = line.replace("python ", f"{shlex.quote(sys.executable)} ", 1).replace(URL, server.url)
    ended = subprocess.run(
        ["bash", "-O", "failglob", "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.parametrize("line", beginning_with("make ", SHELL, INLINE))
def test_what_it_makes_can_be_made(line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert line.split()[1] in targets


@pytest.mark.parametrize("line", beginning_with("python -m ", SHELL, INLINE))
def test_its_commands_are_understood(line: str) -> None:
    _, _, module, *words = shlex.split(line, comments=True)
    parse(module, words)


@pytest.mark.parametrize("flags", beginning_with("--", INLINE))
def test_the_flags_it_tells_to_try_are_the_servers(flags: str) -> None:
    parse("server", shlex.split(flags))


@pytest.mark.parametrize("line", beginning_with("python -m client ", SHELL))
def test_its_client_examples_run(line: str, shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_URL", shared_server.url)
    run(line, shared_server)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("line", beginning_with("curl ", SHELL))
def test_its_curl_examples_run(line: str, shared_server: Server) -> None:
    assert "messages" in json.loads(run(line, shared_server))


def test_its_python_example_runs(shared_server: Server) -> None:
    (example,) = PYTHON
    command = [sys.executable, "-c", example.replace(URL, shared_server.url)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "joe the usual place\n", "")


def test_it_talks_to_the_port_the_server_listens_on() -> None:
    assert URL in README
    assert Settings().port == 8000


@pytest.mark.parametrize("path", sorted(set(LINKS)))
def test_its_links_lead_to_files(path: str) -> None:
    assert (ROOT / path).exists()


def test_it_lists_every_notebook() -> None:
    assert [link for link in LINKS if link.endswith(".ipynb")] == [f"notebooks/{path.name}" for path in lab.notebooks()]


def test_it_explains_every_folder() -> None:
    explained = {word.rstrip("/") for word in INLINE if re.fullmatch(r"[a-z]+/", word)}
    assert {folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").exists()} <= explained


def test_the_file_for_conda_that_it_names_is_there() -> None:
    (name,) = re.findall(r"conda env create --file (\S+)`", README)
    assert (ROOT / name).exists()
