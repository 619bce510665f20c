"""The README is true: its examples run, it is short, and it names every folder and notebook.

What every page promises (commands, flags, links) is tested in `tests/test_docs.py`.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from harness.servers import Server
from server.settings import Settings
from tests.notebooks import committed
from tests.pages import README, ROOT

URL = "http://127.0.0.1:8000"
MOST_LINES = 120


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


def test_it_is_short() -> None:
    assert len(README.text.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("line", [each for each in README.commands("python -m client ") if "|" not in each])
def test_its_client_examples_run(line: str, shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_URL", shared_server.url)
    run(line, shared_server)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("line", README.commands("curl "))
def test_its_curl_examples_run(line: str, shared_server: Server) -> None:
    assert "messages" in json.loads(run(line, shared_server))


def test_its_python_example_runs(shared_server: Server) -> None:
    (example,) = README.blocks("python")
    command = [sys.executable, "-c", example.replace(URL, shared_server.url)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "joe the usual place\n", "")


def test_it_talks_to_the_port_the_server_listens_on() -> None:
    assert URL in README.text
    assert Settings().port == 8000


def test_it_lists_every_notebook() -> None:
    listed = [link for link in README.links if link.endswith(".ipynb")]
    assert listed == list(committed.notebooks())


def test_it_explains_every_folder() -> None:
    explained = {word.rstrip("/") for word in README.inline if re.fullmatch(r"[a-z]+/", word)}
    assert {folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").exists()} <= explained


def test_it_leads_to_every_page() -> None:
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages | {"docs/decisions/README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= set(README.links)


def test_the_file_for_conda_that_it_names_is_there() -> None:
    (name,) = re.findall(r"conda env create --file (\S+)`", README.text)
    assert (ROOT / name).exists()
