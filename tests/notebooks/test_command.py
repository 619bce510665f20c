"""The command `python -m notebooks`, with real notebooks."""

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from notebooks import lab
from notebooks.__main__ import command
from tests.commands import complaint, run
from tests.in_process import invoke
from tests.notebooks.pages import Page
from tests.waiting import eventually


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A value in the environment of whatever is started from here on."""
    value = uuid.uuid4().hex
    monkeypatch.setenv("BACKEND_LAB_MARK", value)
    return value


def marked(mark: str) -> list[list[str]]:
    """The command lines of all processes that carry `mark`, whoever has started them, but this one."""
    others = [each.info for each in psutil.process_iter(["environ", "cmdline"]) if each.pid != os.getpid()]
    return [each["cmdline"] for each in others if (each["environ"] or {}).get("BACKEND_LAB_MARK") == mark]


def test_two_notebooks_are_run_into_a_report(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    ended = run("notebooks", "run", "00", "01", "--report", path)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert f"{path}: 2 notebooks in " in ended.stdout
    page = Page(path.read_text())
    assert {"00_start", "01_scaffolding"} <= page.ids
    assert [address for address in page.addresses if not address.startswith(("#", "data:"))] == []
    assert marked(mark) == []


def test_a_check_that_fails_is_the_commands_failure_and_the_report_is_written(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    # The notebook sends more than one, and is refused for another reason than it expects.
    monkeypatch.setenv("LAB_WRITE_LIMIT", "1/hour")
    path = tmp_path / "report.html"
    ended = invoke(command, "run", "01", "--report", path)
    assert ended.returncode == 1
    assert "01_scaffolding failed: AssertionError" in ended.stderr
    assert "This notebook failed: AssertionError" in Page(path.read_text()).text


@pytest.mark.parametrize(
    ("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"]
)
def test_who_is_stopped_stops_everything_it_has_started(
    mark: str, tmp_path: Path, send: Callable[[int, int], None], number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "notebooks", "run", "04", "--report", tmp_path / "report.html"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as person:
        try:
            # The notebook's kernel has started servers of its own by then.
            eventually(lambda: any("experiment_" in " ".join(words) for words in marked(mark)), seconds=150)
            send(person.pid, number)
            _, said = person.communicate(timeout=60)
        finally:
            person.kill()
    assert person.returncode != 0
    assert "Traceback" not in said
    eventually(lambda: not marked(mark))


def test_a_second_ctrl_c_breaks_no_clean_up(mark: str, data_dir: Path, tmp_path: Path) -> None:
    heard = tmp_path / "stderr"

    def pressed_twice() -> bool:
        """Press Ctrl-C, unless the command has said that it has heard it before."""
        if "stopping what this command has started" in heard.read_text():
            return True
        os.killpg(person.pid, signal.SIGINT)
        return False

    with (
        heard.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "notebooks", "run", "03", "--report", tmp_path / "report.html"],
            stderr=stderr,
            start_new_session=True,
            env=os.environ | {"LAB_DATA_DIR": str(data_dir)},
        ) as person,
    ):
        try:
            eventually(lambda: any("ipykernel_launcher" in words for words in marked(mark)), seconds=150)
            eventually(pressed_twice, seconds=60)
            assert person.wait(timeout=60) == 1
        finally:
            person.kill()
    said = heard.read_text()
    # Not more than twice: a third could come behind the clean-up, where click says nothing more.
    assert said.splitlines()[-1] == "Aborted!"
    assert "Traceback" not in said
    assert "run-" not in said  # nothing of a folder that is gone
    assert list(data_dir.iterdir()) == []
    eventually(lambda: not marked(mark))


def test_the_log_that_an_error_names_is_kept(data_dir: Path, tmp_path: Path) -> None:
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] || exit 3\n")
    broken.chmod(0o755)
    environment = {"LAB_MONGOD": str(broken), "LAB_DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "notebooks", "run", "00", "--report", str(tmp_path / "report.html")]
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | environment, timeout=120
    )
    line = complaint(ended, 1)
    assert "exit code 3" in line
    (named,) = re.findall(r"in (\S+) does not start", line)
    assert Path(named).is_dir()


def test_the_proxies_of_the_environment_are_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, mongodb_uri: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nobody listens there
    ended = run("notebooks", "run", "01", "03", "--report", tmp_path / "report.html")
    assert ended.returncode == 0, ended.stderr


def test_a_quick_run_is_of_the_exercise_itself_and_is_marked(
    monkeypatch: pytest.MonkeyPatch, mongodb_uri: str, data_dir: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("LAB_DATA_DIR", str(data_dir))
    path, copies = tmp_path / "report.html", data_dir / "notebooks"
    copies.mkdir(parents=True)
    shutil.copy(lab.NOTEBOOKS / "00_start.ipynb", copies)
    beyond_it = new_notebook(cells=[new_code_cell("assert False, 'not in a quick run'")])
    nbformat.write(beyond_it, copies / "07_scaling_ladder.ipynb")
    ended = run("notebooks", "run", "--quick", "--mine", "--report", path)
    assert ended.returncode == 0, ended.stderr
    assert "1 notebooks in" in ended.stdout
    assert "measured quickly" in ended.stdout
    page = Page(path.read_text())
    assert "A quick run of the exercise itself: a first look, not to be quoted." in page.text
    assert "Start here (quick: a first look, not to be quoted)" in page.text


def test_the_copies_of_a_learner_are_run_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, mongodb_uri: str, data_dir: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("LAB_DATA_DIR", str(data_dir))
    path = tmp_path / "report.html"
    assert "jupyter" in complaint(run("notebooks", "run", "--mine", "--report", path), 2)
    (data_dir / "notebooks").mkdir(parents=True)
    mine = new_notebook(cells=[new_code_cell("from notebooks.headline import Headline\nprint('by', 'hand')")])
    nbformat.write(mine, data_dir / "notebooks" / "00_start.ipynb")
    ended = run("notebooks", "run", "00", "--mine", "--report", path)
    assert ended.returncode == 0, ended.stderr
    assert "by hand" in Page(path.read_text()).text


@pytest.mark.parametrize("names", [["99"], ["reads"], ["00", "99"]])
def test_a_name_that_no_notebook_has_is_refused_before_anything_runs(names: list[str], tmp_path: Path) -> None:
    assert names[-1] in complaint(invoke(command, "run", *names, "--report", tmp_path / "report.html"), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "report.html"
    assert str(path) in complaint(invoke(command, "run", "00", "--report", path), 1)


@pytest.mark.parametrize("arguments", [["walk"], ["run", "--colour"]])
def test_bad_usage(arguments: list[str]) -> None:
    assert arguments[-1] in complaint(invoke(command, *arguments), 2)
