"""The embedded MongoDB is for its owner only: other users of the machine can neither read nor write it."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from harness import mongod, private, processes, watch
from harness.access import Access
from harness.mongod import REPLICA_SET
from harness.options import MongodbOptions
from harness.replica_set import start_replica_set
from harness.throwaway import mongod_running
from loadtests import service
from profiles.diagnosis import mongodb_watch
from server.settings import DatabaseAddress
from tests.processes import kill, using
from tests.waiting import eventually

UNAUTHORIZED = 13
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
as_nobody = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can run a program as another user"
)
USER = "import sys; from harness import mongod\nwith mongod.running(sys.argv[1]): sys.stdin.read()"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="backend-lab-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def state_of(data_dir: Path) -> dict[str, Any]:
    return dict(json.loads((data_dir / "mongod.json").read_text()))


def password_in(uri: str) -> str:
    return uri.partition("lab:")[2].partition("@")[0]


def text_in(data_dir: Path) -> str:
    with mongod.running(data_dir) as uri, MongoClient[dict[str, Any]](uri) as client:
        return str((client.test.things.find_one() or {}).get("text"))


def open_to_others(directory: Path) -> list[str]:
    """What of a data dir other users could read or write if they got there; mongod's own files are its business."""
    return [
        path.name for path in (directory, *directory.iterdir()) if stat.S_IMODE(path.stat().st_mode) & private.OTHERS
    ]


def nobody_finds(text: str, *where: Path | str) -> str:
    """The files in which another user finds `text`. It comes by standard input, where it does not find it itself."""
    search = [*NOBODY, "grep", "--recursive", "--files-with-matches", "--no-messages", "--fixed-strings", "--file=-"]
    return subprocess.run([*search, *where], input=text, capture_output=True, text=True, check=False).stdout


# Other users.


def test_whoever_has_no_password_can_neither_read_nor_write(data_dir: Path) -> None:
    with mongod.running(data_dir):
        port = state_of(data_dir)["port"]
        with MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}/?directConnection=true") as stranger:
            attempts: list[Callable[[], Any]] = [
                stranger.test.things.find_one,
                lambda: stranger.test.things.insert_one({}),
                stranger.list_database_names,
                lambda: stranger.admin.command("createUser", "me", pwd="x", roles=["root"]),
                lambda: stranger.admin.command("shutdown"),
            ]
            for attempt in attempts:
                with pytest.raises(OperationFailure) as refusal:
                    attempt()
                assert refusal.value.code == UNAUTHORIZED


@as_nobody
def test_another_user_finds_the_password_and_the_port_nowhere(folder: Path) -> None:
    data_dir = folder / "lab"
    command = [sys.executable, "-m", "server", "--port", "0", "--workers", "2"]
    server = processes.start(command, folder / "log", environment={"LAB_DATA_DIR": str(data_dir)}, pipes=True)
    try:
        assert server.process.stdout is not None
        assert processes.first_line(server.process.stdout, 60).startswith("listening")
        with mongod.running(data_dir) as uri, service.running(mongodb_uri=uri, database="test") as other:
            port, password = str(state_of(data_dir)["port"]), password_in(uri)
            family = processes.descendants([psutil.Process(server.pid), other_process := psutil.Process(other.pid)])
            everybody = [*family, *using(data_dir)]
            assert other_process in everybody
            assert len(password) == 64
            told = [Path(f"/proc/{each.pid}/{name}") for each in everybody for name in ("cmdline", "environ", "status")]
            assert nobody_finds(password, folder, *told) == ""
            assert nobody_finds("", data_dir) == ""  # not a single line of anything
            assert port not in [word for each in everybody for word in each.cmdline()]
            assert f"/proc/{server.pid}/cmdline" in nobody_finds("server", *told)  # it does look there
    finally:
        processes.stop(server)


def test_a_data_dir_is_for_its_owner_only(data_dir: Path) -> None:
    with mongod.running(data_dir):
        assert open_to_others(data_dir) == []
    assert open_to_others(data_dir) == []


def test_a_folder_that_was_there_keeps_its_rights_and_what_is_put_there_is_private(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with mongod.running(shared):
        assert open_to_others(shared) == ["shared"]
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    shutil.rmtree(shared)


# Data dirs that have been through something.


def test_a_data_dir_from_before_there_were_passwords_opens_and_is_closed_to_others(tmp_path: Path) -> None:
    old = tmp_path / "old"
    with mongod_running(old) as (port, _):
        start_replica_set(f"127.0.0.1:{port}", REPLICA_SET)
        with MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}") as client:
            client.test.things.insert_one({"text": "from before"})
    (old / "mongod.json").write_text(json.dumps({"uri": "", "port": port, "pid": 0, "guard": 0}))
    (old / "users.lock").touch()
    for path in (old, *old.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert text_in(old) == "from before"
    assert open_to_others(old) == ["old"]  # the folder may hold more than the lab's files
    assert text_in(old) == "from before"
    shutil.rmtree(old)


# What mongod says in its log on its first way: it listens, it has a configuration, it is primary, there is a user.
MOMENTS = ("Waiting for connections", "replSetInitiate admin command received", "transition to primary", "createUser")


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_in_the_middle_of_its_first_start_it_opens_the_next_time(data_dir: Path, moment: str) -> None:
    log = data_dir / "mongod.log"
    with subprocess.Popen([sys.executable, "-c", USER, data_dir], stdin=subprocess.PIPE) as user:
        eventually(lambda: log.exists() and (moment in log.read_text() or (data_dir / "mongod.json").exists()))
        kill(psutil.Process(user.pid), *using(data_dir))
    with mongod.running(data_dir) as uri, MongoClient[dict[str, Any]](uri) as client:
        client.test.things.insert_one({"text": "kept"})
    assert text_in(data_dir) == "kept"


def test_what_a_start_left_half_done_is_done_by_the_next(tmp_path: Path) -> None:
    """Without a user, and with one whose password is of another start."""
    key = tmp_path / "key"
    keys, later = Access(), Access()
    private.write(key, keys.key)
    with mongod_running(tmp_path / "data", "--keyFile", str(key)) as (port, _):
        address = f"127.0.0.1:{port}"
        start_replica_set(address, REPLICA_SET, **keys.internal_login)
        for each in (keys, Access(keys.key, later.password)):
            start_replica_set(address, REPLICA_SET, **keys.internal_login)
            each.grant(address)
            with MongoClient[dict[str, Any]](each.uri(address, REPLICA_SET)) as client:
                assert client.test.things.insert_one({}).acknowledged
        with (
            MongoClient[dict[str, Any]](keys.uri(address, REPLICA_SET)) as outdated,
            pytest.raises(OperationFailure, match="Authentication failed"),
        ):
            outdated.test.things.find_one()


def test_each_start_has_another_password(data_dir: Path) -> None:
    passwords = set()
    for _ in range(2):
        with mongod.running(data_dir) as uri:
            passwords.add(password_in(uri))
    assert len(passwords) == 2


# Its owner.


def test_it_is_found_by_its_port(data_dir: Path) -> None:
    """So a diagnosis can ask the MongoDB of a service of which it knows nothing but its connections."""
    with mongod.running(data_dir) as uri:
        port = state_of(data_dir)["port"]
        assert mongod.uri_of(port) == uri
        at = mongodb_watch.address(None, [port])
        assert at == uri
        with mongodb_watch.watching(at, port, None, []) as seen:
            eventually(lambda: len(seen.counters) > 1)
        assert seen.grown("time", 0.0, float("inf")) > 0.0
    assert mongod.uri_of(port) is None
    assert not watch.listeners(port)


def test_an_address_in_the_settings_is_not_shown() -> None:
    uri = Access().uri("127.0.0.1:1", REPLICA_SET)
    shown = f"{MongodbOptions(uri)} {DatabaseAddress(uri, 'test')} {Access()}"
    assert password_in(uri) not in shown
    assert "password=" not in shown
