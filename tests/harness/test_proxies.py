"""Proxies that know who has connected, and disturb one pair of processes without the others."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ports import LOOPBACK, free_port
from harness.proxies import INSERT, STRANGER, Proxies
from tests.waiting import eventually

ECHO = """
import socketserver, sys
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1000):
            open(sys.argv[2], "ab").write(data)
            self.request.sendall(data)
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""
# Connects and sends what it is told, in a process of its own, or in one that it starts.
TALK = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    for line in sys.stdin.buffer:
        connection.sendall(line)
        print(connection.recv(1000).decode(), end="", flush=True)
"""
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[2], sys.argv[1]])"


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    with Proxies() as made:
        yield made


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    return tmp_path / "heard"


@pytest.fixture
def proxy(proxies: Proxies, heard: Path) -> Iterator[int]:
    """The port of a proxy before a process that repeats what it is sent."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", ECHO, str(port), heard]) as echo:
        try:
            eventually(lambda: _answers(port))
            yield proxies.listen("echo", port)
        finally:
            echo.kill()


def _answers(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port)).close()
    except OSError:
        return False
    return True


def talk(port: int, data: bytes, seconds: float = 10.0) -> bytes:
    """Send something on a new connection of this process, and return what comes back."""
    with socket.create_connection((LOOPBACK, port), timeout=seconds) as connection:
        connection.sendall(data)
        return connection.recv(1000)


def test_what_is_sent_passes_both_ways(proxy: int) -> None:
    assert talk(proxy, b"hello") == b"hello"


@pytest.mark.parametrize("command", [[TALK], [CHILD]], ids=["itself", "its child"])
def test_a_process_is_known_by_its_name_and_what_it_starts_too(
    proxies: Proxies, proxy: int, command: list[str]
) -> None:
    words = [sys.executable, "-c", *command, str(proxy), TALK]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as talker:
        assert talker.stdin is not None
        assert talker.stdout is not None
        proxies.know(talker.pid, "talker")
        talker.stdin.write("hello\n")
        assert talker.stdout.readline() == "hello\n"
        assert (proxies.count(("talker", "echo")), proxies.count((STRANGER, "echo"))) == (1, 0)
        talker.stdin.close()


def test_what_is_held_arrives_afterwards(proxies: Proxies, proxy: int) -> None:
    with socket.create_connection((LOOPBACK, proxy), timeout=0.2) as connection:
        with proxies.held((STRANGER, "echo")):
            connection.sendall(b"hello")
            with pytest.raises(TimeoutError):
                connection.recv(1000)
        connection.settimeout(10)
        assert connection.recv(1000) == b"hello"


def test_what_is_cut_is_reset_and_others_go_on(proxies: Proxies, proxy: int) -> None:
    with proxies.cut(("talker", "echo")):
        assert talk(proxy, b"hello") == b"hello"
    with socket.create_connection((LOOPBACK, proxy), timeout=10) as connection:
        connection.sendall(b"hello")
        assert connection.recv(1000) == b"hello"
        with proxies.cut((STRANGER, "echo")):
            assert _ended(connection)
            with socket.create_connection((LOOPBACK, proxy), timeout=10) as another:
                assert _ended(another)
    assert talk(proxy, b"hello") == b"hello"


def test_a_reply_is_lost_and_what_it_answers_has_arrived(proxies: Proxies, proxy: int, heard: Path) -> None:
    proxies.lose_replies(1, (STRANGER, "echo"))
    assert talk(proxy, b"a find") == b"a find"
    with socket.create_connection((LOOPBACK, proxy), timeout=10) as connection:
        connection.sendall(INSERT)
        assert _ended(connection)
    assert INSERT in heard.read_bytes()
    assert talk(proxy, INSERT) == INSERT


def test_a_reply_is_kept_back_and_what_it_answers_has_arrived(proxies: Proxies, proxy: int, heard: Path) -> None:
    with socket.create_connection((LOOPBACK, proxy), timeout=0.2) as connection:
        with proxies.replies_kept((STRANGER, "echo")):
            connection.sendall(INSERT)
            eventually(lambda: heard.exists() and INSERT in heard.read_bytes())
        with pytest.raises(TimeoutError):
            connection.recv(1000)
    eventually(lambda: proxies.count((STRANGER, "echo")) == 0)


def test_a_listener_that_is_gone_ends_the_connection(proxies: Proxies) -> None:
    port = proxies.listen("nobody", free_port())
    with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
        assert _ended(connection)


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1000) == b""
    except ConnectionError:
        return True
