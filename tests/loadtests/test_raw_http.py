"""HTTP on raw sockets, against a real server: answers of every form, and connections that end."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from harness import servers
from loadtests.raw_http import RawConnection, RawTransport

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("shop") / "server.log"
    with servers.running([sys.executable, str(HERE / "shop.py"), "{port}"], log, ready="/items") as server:
        yield server.url


@pytest.mark.parametrize(
    ("method", "path", "status", "content"),
    [
        ("GET", "/nonsense", 200, b"this is no JSON"),
        ("GET", "/chunked", 200, b"first " + b"x" * 100_000 + b" last"),
        ("GET", "/until-close", 200, b"to the end"),
        ("HEAD", "/items", 200, b""),
        ("GET", "/nowhere", 404, b"no such page"),
        ("GET", "/moved", 302, b""),
    ],
)
def test_answers_of_every_form_one_after_another(
    shop: str, method: str, path: str, status: int, content: bytes
) -> None:
    transport = RawTransport(RawConnection(shop), shop)
    for _ in range(3):
        answer = transport.send(method, f"{shop}{path}", {}, None, None)
        assert (answer.status_code, answer.content) == (status, content)
    transport.close()


def test_a_body_and_headers_are_sent(shop: str) -> None:
    transport = RawTransport(RawConnection(shop), shop)
    answer = transport.send("POST", f"{shop}/orders", {"Content-Type": "text/plain"}, b"a body", None)
    assert answer.json() == {"got": "a body", "type": "text/plain"}
    assert answer.headers["content-length"] == str(len(answer.content))
    transport.close()


def served(*conversations: Callable[[socket.socket], None]) -> str:
    """The address of a server that has each conversation on a connection of its own, in turn."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening:
            for conversation in conversations:
                connection, _ = listening.accept()
                with connection:
                    conversation(connection)

    threading.Thread(target=serve, daemon=True).start()
    return "http://{}:{}".format(*listening.getsockname())


GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer_once(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(FINE)


def test_an_idle_connection_that_the_server_closed_is_made_again() -> None:
    connection = RawConnection(served(answer_once, answer_once))
    assert connection.exchange(GET)[2] == b"ok"
    assert connection.exchange(GET)[2] == b"ok"
    connection.close()


def hang_up_on_the_second(connection: socket.socket) -> None:
    answer_once(connection)
    connection.recv(65536)


def test_what_may_be_repeated_is_when_the_server_hangs_up_on_it() -> None:
    connection = RawConnection(served(hang_up_on_the_second, answer_once))
    assert connection.exchange(GET)[2] == b"ok"
    assert connection.exchange(GET)[2] == b"ok"
    connection.close()


def test_what_may_not_be_repeated_fails() -> None:
    connection = RawConnection(served(hang_up_on_the_second, answer_once))
    connection.exchange(POST)
    with pytest.raises(requests.ConnectionError, match="closed the connection"):
        connection.exchange(POST)


def test_an_answer_in_pieces_after_a_provisional_one() -> None:
    def slowly(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 O")
        connection.sendall(b"K\r\ncontent-length: 4\r\n\r\nin")
        connection.sendall(b" 2")

    connection = RawConnection(served(slowly))
    status, _, body = connection.exchange(GET)
    assert (status, body) == (200, b"in 2")
    connection.close()


def test_an_answer_that_breaks_off_is_none() -> None:
    def half(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(FINE[:-1])

    with pytest.raises(requests.ConnectionError, match="in the middle"):
        RawConnection(served(half)).exchange(GET)


def test_nobody_there_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = "http://{}:{}".format(*free.getsockname())
    with pytest.raises(requests.ConnectionError):
        RawConnection(url).exchange(GET)
