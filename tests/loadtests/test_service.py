"""Starting servers and the lab's MongoDB from other programs."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.ports import free_port
from harness.processes import ProgramError
from loadtests import service
from migrations import runner
from migrations.runner import Database
from tests.conftest import StartServer
from tests.processes import using
from tests.waiting import eventually


def program(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python program that says something and then waits for its standard input to close."""
    script = (
        f"import pathlib, sys; from loadtests import service; {script}; print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"0\.0\.0\.0 is reachable by others"):
        service.start(tmp_path / "server.log", address="0.0.0.0")


def test_a_setting_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="colour"):
        service.start(tmp_path / "server.log", colour="red")


def test_stopping_twice_does_no_harm(start_server: StartServer) -> None:
    server = start_server()
    assert service.stop(server) == 0
    assert service.stop(server) == 0


def test_a_launched_server_does_not_outlive_its_launcher(data_dir: Path, tmp_path: Path) -> None:
    with program(
        "service.start(pathlib.Path(sys.argv[1]), data_dir=sys.argv[2])", tmp_path / "log", data_dir
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "ready\n"
        launcher.kill()
    eventually(lambda: not using(data_dir))


def test_the_lab_s_mongodb_is_the_embedded_one_until_the_program_ends(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_DATA_DIR", str(data_dir))
    with program("service.migrate(service.mongodb_uri(), 'test')") as user:
        said, _ = user.communicate()
    assert (said, user.returncode) == ("ready\n", 0)
    assert not using(data_dir)


def test_the_lab_s_mongodb_is_the_one_its_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", "mongodb://db.example/")
    assert service.mongodb_uri() == "mongodb://db.example/"


def test_migrating_brings_a_database_up_to_date(mongodb_uri: str, db: Database) -> None:
    service.migrate(mongodb_uri, db.name)
    assert runner.pending(db) == []


def test_migrating_what_does_not_answer_says_why() -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?timeoutMS=300"
    with pytest.raises(ProgramError, match=r"could not be brought up to date: .*refused"):
        service.migrate(uri, "test")
