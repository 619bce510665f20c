"""The command `python -m server`: its flags, its refusals, and how it starts and ends."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import psutil
import pytest
import requests

from harness.ports import free_port
from harness.servers import Server
from loadtests import service
from migrations.runner import Database
from server.settings import Settings, flag, variable
from tests.commands import complaint, run
from tests.conftest import StartServer
from tests.processes import kill, mongod_of, stopped, using
from tests.waiting import eventually


@pytest.fixture
def embedded(data_dir: Path, tmp_path: Path) -> Iterator[Server]:
    """A server on an embedded MongoDB of its own."""
    with service.running(tmp_path / "server.log", data_dir=data_dir) as server:
        yield server


def post(server: Server, text: str) -> requests.Response:
    return requests.post(f"{server.url}/messages", json={"text": text})


def texts(server: Server) -> set[str]:
    answer = requests.get(f"{server.url}/messages", params={"limit": 1000})
    return {message["text"] for message in answer.json()["messages"]}


# Settings.


def test_help_lists_every_flag_with_its_variable() -> None:
    text = " ".join(run("server", "--help").stdout.split())
    for knob in fields(Settings):
        assert re.search(rf"{flag(knob.name)} .*\[env var: {variable(knob.name)}\b", text), knob.name


def test_a_setting_comes_from_its_variable(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_WRITE_LIMIT", "1/hour")
    server = start_server()
    assert [post(server, "hello").status_code for _ in range(2)] == [201, 429]


def test_a_flag_wins_over_its_variable(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_WRITE_LIMIT", "1/hour")
    server = start_server(write_limit="off")
    assert [post(server, "hello").status_code for _ in range(2)] == [201, 201]


def test_a_bad_value_in_a_variable_is_refused_by_the_name_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PORT", "http")
    assert "LAB_PORT" in complaint(run("server"), 2)


def test_an_unknown_flag_is_refused() -> None:
    assert "--colour" in complaint(run("server", "--colour", "red"), 2)


# What keeps it from starting.


def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])
        line = complaint(run("server", "--port", port, cwd=tmp_path), 1)
    assert f"port {port} is in use" in line
    assert f"LAB_PORT={int(port) + 1} make serve" in line
    assert "--port 0" in line
    assert not list(tmp_path.iterdir())


def test_the_port_can_be_given_as_make_passes_it_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])
        monkeypatch.setenv("LAB_PORT", port)
        assert f"port {port} is in use" in complaint(run("server", cwd=tmp_path), 1)


def test_a_mongodb_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}/?serverSelectionTimeoutMS=500&timeoutMS=500"
    monkeypatch.setenv("LAB_MONGODB_URI", f"mongodb://somebody:secret@{address}")
    line = complaint(run("server", "--port", "0"), 1)
    assert f"127.0.0.1:{port}" in line
    assert "--mongodb-uri" in line
    assert "secret" not in line


def test_a_mongodb_uri_that_cannot_be_read_is_refused() -> None:
    assert "--mongodb-uri" in complaint(run("server", "--port", "0", "--mongodb-uri", "mongodb://host:port"), 1)


def test_a_mongod_that_is_not_there_is_named(tmp_path: Path) -> None:
    line = complaint(run("server", "--port", "0", "--data-dir", tmp_path, "--mongod", tmp_path / "nothing"), 1)
    assert "LAB_MONGOD" in line


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = complaint(run("server", "--port", "0", "--data-dir", tmp_path / "file" / "lab"), 1)
    assert "choose another" in line


# Its life and its end.


def test_ready_is_one_line_and_the_address_in_it_answers(mongodb_uri: str, migrated: Database) -> None:
    place = ["--mongodb-uri", mongodb_uri, "--database", migrated.name, "--until-stdin-closes", "on"]
    command = [sys.executable, "-m", "server", "--port", "0", *place]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
            assert ready is not None
            assert requests.get(f"{ready[1]}/readyz").status_code == 200
            rest, _ = process.communicate(timeout=20)  # closes its standard input
        finally:
            process.kill()
    assert (rest, process.returncode) == ("", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_good_order_when_asked_to(embedded: Server, data_dir: Path, number: signal.Signals) -> None:
    embedded.process.send_signal(number)
    rest, _ = embedded.process.communicate()
    assert rest == b""
    assert embedded.process.returncode == 0
    assert "Traceback" not in embedded.log.read_text()
    assert not using(data_dir)


def test_it_finishes_what_it_has_admitted(embedded: Server, data_dir: Path) -> None:
    with ThreadPoolExecutor() as pool:
        with stopped(mongod_of(data_dir)):
            answer = pool.submit(post, embedded, "slow")
            eventually(lambda: "http_requests_in_flight 2.0" in requests.get(f"{embedded.url}/metrics").text)
            embedded.process.terminate()
            eventually(lambda: not is_listening(embedded))
        assert answer.result().status_code == 201
    assert embedded.process.wait(10) == 0


def test_it_sends_a_long_answer_to_its_end(start_server: StartServer, migrated: Database) -> None:
    """Longer than what the kernel buffers, to a caller that reads only after the server was told to stop."""
    migrated.messages.insert_many({"text": "\N{GRINNING FACE}" * 4000} for _ in range(1000))
    server = start_server()
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = server.url.removeprefix("http://").split(":")
        caller.connect((host, int(port)))
        caller.sendall(b"GET /messages?limit=1000 HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
        answer = caller.recv(1024)
        server.process.terminate()
        eventually(lambda: not is_listening(server))
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
        while chunk := caller.recv(1024 * 1024):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert server.process.wait(10) == 0


def test_it_ends_in_time_though_its_database_is_dead(embedded: Server, data_dir: Path) -> None:
    with ThreadPoolExecutor() as pool:  # several at once, so that it holds several connections
        assert {answer.status_code for answer in pool.map(lambda _: post(embedded, "hello"), range(10))} == {201}
    kill(mongod_of(data_dir))
    assert requests.get(f"{embedded.url}/readyz").status_code == 503
    embedded.process.terminate()
    assert embedded.process.wait(10) == 0


def test_it_ends_when_standard_input_closes(start_server: StartServer) -> None:
    server = start_server(until_stdin_closes="on")
    assert server.process.stdin is not None
    server.process.stdin.close()
    assert server.process.wait(10) == 0
    assert "Traceback" not in server.log.read_text()


def test_it_ends_at_once_when_standard_input_has_nothing(mongodb_uri: str, database: str) -> None:
    # `run` gives it /dev/null, which an event loop cannot watch.
    place = ["--mongodb-uri", mongodb_uri, "--database", database]
    ended = run("server", "--port", "0", *place, "--until-stdin-closes", "on")
    assert ended.returncode == 0
    assert ended.stdout.startswith("listening on ")
    assert "Traceback" not in ended.stderr


def test_kill_9_loses_no_acknowledged_message(embedded: Server, data_dir: Path, tmp_path: Path) -> None:
    acknowledged: set[str] = set()

    def post_until_it_dies() -> None:
        with suppress(requests.ConnectionError):
            for number in range(10_000):
                if post(embedded, f"number {number}").status_code == 201:
                    acknowledged.add(f"number {number}")

    with ThreadPoolExecutor() as pool:
        posting = pool.submit(post_until_it_dies)
        eventually(lambda: len(acknowledged) >= 20)
        embedded.process.kill()
        posting.result()
    with service.running(tmp_path / "second.log", data_dir=data_dir) as second:
        assert acknowledged <= texts(second)


def is_listening(server: Server) -> bool:
    return any(each.status == psutil.CONN_LISTEN for each in psutil.Process(server.pid).net_connections())
