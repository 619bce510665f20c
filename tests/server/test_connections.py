"""Plain requests are read by our connections, all others by Tornado's; on real sockets."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    ResponseStartLine,
)
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from server import connections, tasks
from server.connections import CACHED_HEADS, MAX_BODY, MAX_HEAD, Server, plain
from tests.waiting import until

GET = b"GET /ours HTTP/1.1\r\nHost: lab\r\n\r\n"
POST = b"POST /ours HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello"
LAST = b"GET /last HTTP/1.0\r\n\r\n"  # Tornado answers, and closes the connection

PLAIN = {
    "a GET": GET,
    "a POST": POST,
    "keep-alive": GET.replace(b"lab\r\n", b"lab\r\nconnection: Keep-Alive\r\n"),
    "the largest head": GET.replace(b"lab\r\n", b"lab\r\nX: " + b"x" * (MAX_HEAD - len(GET) - 5) + b"\r\n"),
    "the largest body": POST[:-5].replace(b"5", b"%d" % MAX_BODY) + b"x" * MAX_BODY,
    "a method of its own": GET.replace(b"GET", b"BREW"),
    "a body that looks like a head": POST.replace(b"5", b"%d" % len(GET))[:-5] + GET,
}
OTHERS = {
    "HTTP/1.0": GET.replace(b"1.1", b"1.0").replace(b"lab\r\n", b"lab\r\nConnection: keep-alive\r\n"),
    "Connection: close": GET.replace(b"lab\r\n", b"lab\r\nConnection: close\r\n"),
    "chunks": POST[:-5].replace(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "Expect": POST.replace(b"lab\r\n", b"lab\r\nExpect: something\r\n"),
    "a larger head": GET.replace(b"lab\r\n", b"lab\r\nX: " + b"x" * (MAX_HEAD - len(GET) - 4) + b"\r\n"),
    "a larger body": POST[:-5].replace(b"5", b"%d" % (MAX_BODY + 1)) + b"x" * (MAX_BODY + 1),
    "line feeds": GET.replace(b"\r\n", b"\n"),
    "a line feed before the empty line": GET.replace(b"\r\n\r\n", b"\n\r\n"),
    "a line feed as the empty line": GET.replace(b"\r\n\r\n", b"\r\n\n"),
    "an empty line first": b"\r\n" + GET,
    "the same length twice": POST.replace(b"lab\r\n", b"lab\r\nContent-Length: 5\r\n"),
}
REFUSED = {
    "no HTTP": b"hello\r\n\r\n",
    "no Host": GET.replace(b"Host: lab\r\n", b""),
    "two Hosts": GET.replace(b"lab\r\n", b"lab\r\nHost: other\r\n"),
    "two lengths": POST.replace(b"lab\r\n", b"lab\r\nContent-Length: 6\r\n"),
    "a length with a sign": POST.replace(b"5", b"+5"),
    "a header that is none": GET.replace(b"lab\r\n", b"lab\r\nnothing\r\n"),
}


class Ours(HTTPServerConnectionDelegate):
    """Answers each request with what was read of it, as soon as it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.answers: list[asyncio.Task[None]] = []
        self.headers: dict[str, str] = {}
        self.with_length = True

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Request(self, request_conn)

    async def answer(self, text: bytes, connection: HTTPConnection) -> None:
        await self.may.wait()
        headers = HTTPHeaders(self.headers)
        if self.with_length:
            headers["Content-Length"] = str(len(text))
        try:
            sent = connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, text)
        finally:
            connection.finish()
        await sent


class _Request(HTTPMessageDelegate):
    def __init__(self, ours: Ours, connection: HTTPConnection) -> None:
        self._ours, self._connection, self._body = ours, connection, b""

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        self._start_line = start_line

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    def finish(self) -> None:
        text = f"ours: {self._start_line.method} {self._start_line.path} ".encode() + self._body
        self._ours.answers.append(asyncio.create_task(self._ours.answer(text, self._connection)))


class Tornados(RequestHandler):
    SUPPORTED_METHODS = ("GET", "POST")

    def get(self) -> None:
        self.finish(f"tornado: {self.request.method} {self.request.path} ".encode() + self.request.body)

    post = get


@pytest.fixture
def ours() -> Ours:
    return Ours()


@pytest_asyncio.fixture
async def server(ours: Ours) -> AsyncIterator[Server]:
    """A server whose plain requests are ours."""
    server = Server(ours, Application([("/.*", Tornados)]))
    yield server
    server.stop()
    await server.close_all_connections()
    await until(lambda: not server.connections)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Any]


@pytest_asyncio.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    """Opens a connection to the server."""
    listening, port = bind_unused_port()
    await server.listen_on([listening])
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Ends:
        ends = await asyncio.open_connection("127.0.0.1", port)
        opened.append(ends[1])
        return ends

    yield connect
    for each in opened:
        each.close()


async def bodies(reading: asyncio.StreamReader) -> list[bytes]:
    """The bodies of the answers on a connection, to its end."""
    found = []
    async with asyncio.timeout(20):
        while head := await _head(reading):
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            found.append(await reading.readexactly(length))
    return found


async def _head(reading: asyncio.StreamReader) -> bytes:
    try:
        return await reading.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial


def _said(who: str, request: bytes) -> bytes:
    """What `who` answers to a request."""
    head, _, body = request.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
    body = b"hello" if b"chunked" in head else body.replace(b"\n", b"\r\n")
    return f"{who}: ".encode() + b" ".join(head.split(b" ")[:2]) + b" " + body


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.asyncio
async def test_plain_requests_are_ours(connect: Connect, name: str) -> None:
    reading, writing = await connect()
    writing.write(PLAIN[name] * 2 + LAST)
    said = _said("ours", PLAIN[name])
    assert await bodies(reading) == [said, said, b"tornado: GET /last "]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.asyncio
async def test_others_are_tornados_and_so_is_what_follows(connect: Connect, name: str) -> None:
    reading, writing = await connect()
    request = OTHERS[name]
    if name == "Connection: close":
        writing.write(GET + request)
        assert await bodies(reading) == [_said("ours", GET), _said("tornado", request)]
    else:
        writing.write(GET + request + GET + LAST)
        said = [_said("ours", GET), _said("tornado", request), _said("tornado", GET), b"tornado: GET /last "]
        assert await bodies(reading) == said


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.asyncio
async def test_what_is_no_request_is_refused_after_what_was_one(connect: Connect, name: str) -> None:
    reading, writing = await connect()
    writing.write(GET + REFUSED[name])
    assert b"200 OK" in await _head(reading)
    await reading.readexactly(len(_said("ours", GET)))
    assert (await asyncio.wait_for(reading.read(), 20)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("request_", [*PLAIN.values(), *OTHERS.values()], ids=[*PLAIN, *OTHERS])
@pytest.mark.asyncio
async def test_it_makes_no_difference_in_which_pieces_a_request_comes(connect: Connect, request_: bytes) -> None:
    whole, in_pieces = await connect(), await connect()
    # Nothing may come after the last request, or the answer is lost with the connection.
    end = b"" if b"Connection: close" in request_ else LAST
    whole[1].write(request_ + end)
    for position in range(0, len(request_), step := len(request_) // 50 + 1):
        in_pieces[1].write(request_[position : position + step])
        await in_pieces[1].drain()
        await asyncio.sleep(0)
    in_pieces[1].write(end)
    assert await bodies(in_pieces[0]) == await bodies(whole[0]) != []


@pytest.mark.asyncio
async def test_the_next_request_is_given_on_when_the_last_is_answered(connect: Connect, ours: Ours) -> None:
    reading, writing = await connect()
    ours.may.clear()
    writing.write(GET + POST + LAST)
    await until(lambda: len(ours.answers) == 1)
    await asyncio.sleep(0)
    assert len(ours.answers) == 1
    ours.may.set()
    assert await bodies(reading) == [_said("ours", GET), _said("ours", POST), b"tornado: GET /last "]


@pytest.mark.asyncio
async def test_an_answer_without_a_length_ends_with_the_connection(connect: Connect, ours: Ours) -> None:
    ours.with_length = False
    reading, writing = await connect()
    writing.write(GET + GET)
    answer = await asyncio.wait_for(reading.read(), 20)
    assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nours: GET /ours "


@pytest.mark.asyncio
async def test_a_header_that_holds_a_line_break_is_not_sent(connect: Connect, ours: Ours) -> None:
    ours.headers = {"X": "y\r\nSet-Cookie: z"}
    _, writing = await connect()
    writing.write(GET)
    await until(lambda: bool(ours.answers) and ours.answers[0].done())
    assert isinstance(ours.answers[0].exception(), ValueError)


@pytest.mark.asyncio
async def test_who_goes_away_before_the_answer_is_forgotten_when_it_comes(
    connect: Connect, server: Server, ours: Ours, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    _, writing = await connect()
    ours.may.clear()
    writing.write(GET)
    await until(lambda: len(ours.answers) == 1)
    writing.transport.abort()
    ours.may.set()
    await until(ours.answers[0].done)
    assert ours.answers[0].exception() is None
    await until(lambda: not server.connections)
    assert not caplog.records


@pytest.mark.asyncio
async def test_who_has_asked_all_it_wants_to_ask_is_answered(connect: Connect, ours: Ours) -> None:
    reading, writing = await connect()
    ours.may.clear()
    writing.write(GET + POST + GET)
    writing.write_eof()
    await until(lambda: len(ours.answers) == 1)
    ours.may.set()
    assert await bodies(reading) == [_said("ours", GET), _said("ours", POST), _said("ours", GET)]


@pytest.mark.asyncio
async def test_who_asks_on_without_having_its_answer_has_to_wait(connect: Connect, server: Server, ours: Ours) -> None:
    reading, writing = await connect()
    ours.may.clear()
    requests = [POST[:-5].replace(b"5", b"%d" % MAX_BODY) + b"x" * MAX_BODY] * 200  # more than the sockets hold
    writing.write(b"".join(requests) + LAST)
    await until(lambda: len(ours.answers) == 1)
    (connection,) = server.connections
    await until(lambda: connection._read_is_paused)
    assert len(connection._received) < 100 * MAX_BODY
    assert not connection.transport.is_reading()
    ours.may.set()
    assert await bodies(reading) == [*(_said("ours", each) for each in requests), b"tornado: GET /last "]


@pytest.mark.asyncio
async def test_whom_a_bug_meets_is_hung_up_on_and_the_next_one_is_served(
    connect: Connect, ours: Ours, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_Request, "finish", lambda self: 1 / 0)
    reading, writing = await connect()
    writing.write(GET)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reading.read(), 20) == b""
    assert "GET /ours" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    reading, writing = await connect()
    writing.write(GET + LAST)
    assert await bodies(reading) == [_said("ours", GET), b"tornado: GET /last "]


# Heads that come again.


HEAD = GET.removesuffix(b"\r\n\r\n")


def test_with_uvloop_an_answer_is_sent_before_the_next_request_is_read() -> None:
    """What the loop then does for that request is no wait of the answer before it."""
    uvloop = pytest.importorskip("uvloop")

    class Blocking(Ours):
        def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
            time.sleep(0.2)
            return super().start_request(server_conn, request_conn)

    async def unsent_seconds() -> float:
        server = Server(Blocking(), Application())
        listening, port = bind_unused_port()
        await server.listen_on([listening])
        with socket.create_connection(("127.0.0.1", port)) as caller:
            await until(lambda: bool(server.connections))
            caller.sendall(GET)
            server.sends(time.monotonic())  # as an answer on another connection, in the turn before this is read
            answer = await asyncio.to_thread(caller.recv, 1000)
        assert b"ours: GET" in answer
        server.stop()
        await server.close_all_connections()
        return server.unsent_seconds

    assert uvloop.run(unsent_seconds()) < 0.1


def test_equal_heads_are_read_once() -> None:
    assert plain(HEAD) is plain(bytes(bytearray(HEAD))) is not None


def test_whoever_never_sends_the_same_head_fills_no_memory() -> None:
    for number in range(3 * CACHED_HEADS):
        assert plain(HEAD.replace(b"/ours", b"/%d" % number))
    assert plain.cache_info().currsize <= CACHED_HEADS


# Connections on which nothing comes.

BEGUN = {"nothing": b"", "half of a head": GET[:-5], "half of a body": POST[:-2], "another request": POST + GET[:9]}


@pytest.mark.parametrize("begun", BEGUN)
@pytest.mark.asyncio
async def test_a_connection_on_which_nothing_comes_is_closed(
    connect: Connect, server: Server, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    for name in ("IDLE_SECONDS", "RECEIVE_SECONDS", "REAP_SECONDS"):
        monkeypatch.setattr(connections, name, 0.05)
    reaping = asyncio.create_task(server.run())
    reading, writing = await connect()
    writing.write(BEGUN[begun])
    assert (await asyncio.wait_for(reading.read(), 20) == b"") == (begun != "another request")
    await tasks.end(reaping)


@pytest.mark.asyncio
async def test_a_connection_whose_answer_takes_long_is_not_closed(
    connect: Connect, server: Server, ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IDLE_SECONDS", "RECEIVE_SECONDS", "REAP_SECONDS"):
        monkeypatch.setattr(connections, name, 0.01)
    ours.may.clear()
    reading, writing = await connect()
    writing.write(GET)
    await until(lambda: len(ours.answers) == 1)
    reaping = asyncio.create_task(server.run())
    idle, _ = await connect()
    assert await asyncio.wait_for(idle.read(), 20) == b""
    ours.may.set()
    assert b"200 OK" in await _head(reading)
    await tasks.end(reaping)


@pytest.mark.parametrize("begun", BEGUN)
@pytest.mark.asyncio
async def test_a_connection_that_has_ended_is_forgotten(connect: Connect, server: Server, begun: str) -> None:
    _, writing = await connect()
    writing.write(BEGUN[begun])
    await until(lambda: len(server.connections) == 1)
    writing.close()
    await until(lambda: not server.connections)
