"""HTTP/1.1 connections that cost less than Tornado's: docs/decisions/0056 says why.

Nearly all requests are plain: a short head, which on one connection is often the same time and again, and at most a
short body that says how long it is. `Connection` reads those, and gives them to a delegate as Tornado's own would.
Whoever sends anything else, well-formed or not, is from then on served by Tornado.
"""

import asyncio
import contextlib
import functools
import logging
import math
import os
import re
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
    parse_request_start_line,
)
from tornado.iostream import IOStream
from tornado.web import Application

IDLE_SECONDS = 75.0
RECEIVE_SECONDS = 10.0
REAP_SECONDS = 1.0
CLOSE_SECONDS = 2.0
BACKLOG = 128
MOST_HEAD = 4 * 1024
MOST_BODY = 64 * 1024
MOST_HEADS = 256  # remembered: some megabytes, were all of them as long as they may be
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
WITHOUT_BODY = {204, 304}


class SharedHeaders(HTTPHeaders):
    """Those of all requests whose heads are equal: nobody may change them, and what follows from them can be kept."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Head(NamedTuple):
    """The head of a plain request, and the length of its body in bytes."""

    start_line: RequestStartLine
    headers: SharedHeaders
    length: int


@functools.lru_cache(MOST_HEADS)
def plain(head: bytes) -> Head | None:
    """Read the head of a request, less the empty line that ends it; None if it is for Tornado to answer, or to refuse.

    Tornado's functions read it. Equal heads are read once.
    """
    if head.count(b"\n") != head.count(b"\r\n"):  # Tornado allows other ends of lines, and so of heads
        return None
    first, _, lines = head.decode("latin-1").partition("\r\n")
    try:
        start_line, headers = parse_request_start_line(first), SharedHeaders(HTTPHeaders.parse(lines))
    except HTTPInputError:
        return None
    length = headers.get("Content-Length", "0")
    is_plain = (
        start_line.version == "HTTP/1.1"
        and headers.get("Connection", "keep-alive").lower() == "keep-alive"
        and "," not in headers.get("Host", ",")
        and "Transfer-Encoding" not in headers
        and "Expect" not in headers
        and re.fullmatch("[0-9]{1,9}", length) is not None
        and int(length) <= MOST_BODY
    )
    return Head(start_line, headers, int(length)) if is_plain else None


class Caller(NamedTuple):
    """Who is at the other end, in the words of Tornado's requests."""

    remote_ip: str
    protocol: str = "http"


class Connection(asyncio.Protocol):
    """Reads plain requests, and gives each to a delegate when it has come and the one before it is answered."""

    transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self.closes_at = math.inf  # unless what is awaited comes before
        self._server = server
        self._received = b""
        self._head: Head | None = None  # of the request whose body is to come
        self._answer: Answer | None = None  # which is being made
        self._unsent: list[tuple[bytes, Callable[[], None]]] = []
        self._untaken: list[Callable[[], None]] = []  # whom to tell when the caller has taken what was sent
        self._is_choked = False  # because the caller does not take it
        self._is_paused = False
        self._has_ended = False  # the caller sends no more
        self._for_tornado: socket.socket | None = None

    def write_soon(self, data: bytes, taken: Callable[[], None]) -> None:
        """Write in the event loop's next turn, after what this turn writes soon on other connections is made.

        Who waits for an answer is woken when it comes: sent one by one, each costs a wake-up, which is more than
        what it takes to make it. `taken` is called when no more than a little of it waits, or the caller has gone.
        """
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._write_and_serve)
        self._unsent.append((data, taken))

    def answered(self, is_last: bool) -> None:
        """Go on to the next request, or close the connection."""
        self._answer = None
        if is_last:
            self.close()
        else:
            self._serve()

    def close(self) -> None:
        """Close the connection when all that was to be written is."""
        self._write()
        self.transport.close()

    # What the transport calls.

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("peername") or ("", 0)
        self.caller = Caller(self.address[0])
        self._server.opened(self)
        self._read_on(IDLE_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._is_free():
            self._serve()
        else:  # who asks on without having its answer waits for that
            self._is_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._has_ended = True
        self._serve()
        return True  # who has asked all it wants to ask is answered, and then the connection is closed

    def pause_writing(self) -> None:
        self._is_choked = True

    def resume_writing(self) -> None:
        self._is_choked = False
        self._tell_taken()
        self._serve()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_choked = False
        self._write()
        self._server.lost(self)
        if self._for_tornado is not None:
            self._server.handle_stream(Begun(self._for_tornado, self._received), self.address)

    # What it does.

    def _is_free(self) -> bool:
        """Whether the next request may be answered: the one before it is, and its answer is sent."""
        return self._answer is None and not self._unsent and not self._is_choked and not self.transport.is_closing()

    def _serve(self) -> None:
        """Give on the next request, if it has come."""
        if not self._is_free():
            return
        if self._head is None:
            lines, ended, rest = self._received.partition(b"\r\n\r\n")
            if not ended and len(lines) < MOST_HEAD and END_OF_HEAD.search(lines) is None:
                self._read_on(IDLE_SECONDS)
                return
            self._head = plain(lines) if ended and len(lines) + len(ended) <= MOST_HEAD else None
            if self._head is None:
                self._leave_to_tornado()
                return
            self._received = rest
            self.closes_at = math.inf
        if len(self._received) < self._head.length:
            self._read_on(RECEIVE_SECONDS)
            return
        head, self._head = self._head, None
        body, self._received = self._received[: head.length], self._received[head.length :]
        self.closes_at = math.inf
        self._give(head, body)

    def _give(self, head: Head, body: bytes) -> None:
        self._answer = Answer(self)
        request = self._server.delegate.start_request(self, self._answer)
        try:
            waiting = request.headers_received(head.start_line, head.headers)
            assert waiting is None, "who takes bodies in pieces has to take them from Tornado"
            if body:
                request.data_received(body)
            request.finish()
        except HTTPInputError:  # Tornado's application looks at the Host, for one
            self.write_soon(BAD_REQUEST, lambda: None)
            self.close()
        except Exception:  # a bug, of which the caller hears no more than that
            logging.exception("Uncaught exception: %s %s", head.start_line.method, head.start_line.path)
            self.transport.abort()

    def _read_on(self, seconds: float) -> None:
        """Wait for more, but no longer than `seconds` from when this wait began."""
        if self._has_ended:
            self.close()
            return
        self.closes_at = min(self.closes_at, time.monotonic() + seconds)
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()

    def _write_and_serve(self) -> None:
        self._write()
        self._serve()

    def _write(self) -> None:
        """Write what was to be written soon."""
        unsent, self._unsent = self._unsent, []
        for data, taken in unsent:
            if not self.transport.is_closing():
                self.transport.write(data)
            self._untaken.append(taken)
        if not self._is_choked:
            self._tell_taken()

    def _tell_taken(self) -> None:
        untaken, self._untaken = self._untaken, []
        for taken in untaken:
            taken()

    def _leave_to_tornado(self) -> None:
        """Let Tornado read what has come again, and all that follows, when the transport has sent all it had to."""
        self.closes_at = math.inf
        self._for_tornado = socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
        self.transport.close()


class Answer(HTTPConnection):
    """Takes the answer to one request."""

    def __init__(self, connection: Connection) -> None:
        self.context = connection.caller
        self._connection = connection
        self._is_last = False

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "asyncio.Future[None]":
        assert isinstance(start_line, ResponseStartLine)
        if "Content-Length" not in headers and start_line.code not in WITHOUT_BODY:
            headers["Connection"] = "close"  # which is how the caller knows where the body ends
        self._is_last = headers.get("Connection", "").lower() == "close"
        lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError(f"a header holds a line break: {lines}")
        return self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (chunk or b""))

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        taken = asyncio.get_running_loop().create_future()
        self._connection.write_soon(chunk, lambda: None if taken.done() else taken.set_result(None))
        return taken

    def send(self, answer: bytes, taken: Callable[[], None]) -> None:
        """Take a whole answer, head and body; `taken` is called when the caller has taken it, or has gone."""
        self._connection.write_soon(answer, taken)
        self.finish()

    def finish(self) -> None:
        self._connection.answered(self._is_last)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Nothing, although Tornado's handlers ask for it: an answer to a caller who has gone is thrown away."""


class Begun(IOStream):
    """What comes on a connection of which something has been read already."""

    def __init__(self, socket: socket.socket, received: bytes) -> None:
        super().__init__(socket)
        self._received = received

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._received:
            return super().read_from_fd(buf)
        again, self._received = self._received[: len(buf)], self._received[len(buf) :]
        buf[: len(again)] = again
        return len(again)


class Server(HTTPServer):
    """Gives plain requests to `delegate`. Whoever sends others is Tornado's, and answered by `application`."""

    def initialize(  # type: ignore[override]  # Tornado's `Configurable` calls it with what the class is called with
        self, delegate: HTTPServerConnectionDelegate, application: Application, **limits: Any
    ) -> None:
        super().initialize(application, **limits)
        self.delegate = delegate
        self.connections: set[Connection] = set()
        self._listening: list[asyncio.Server] = []
        self._none_left = asyncio.Event()

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections. In the place of `add_sockets`."""
        loop = asyncio.get_running_loop()
        for each in sockets:
            self._listening.append(await loop.create_server(lambda: Connection(self), sock=each, backlog=BACKLOG))

    def stop(self) -> None:
        for each in self._listening:
            each.close()
        super().stop()

    def opened(self, connection: Connection) -> None:
        """Remember a connection until it is `lost`."""
        self.connections.add(connection)
        self._none_left.clear()

    def lost(self, connection: Connection) -> None:
        """Forget a connection that has ended, or is left to Tornado."""
        self.connections.discard(connection)
        if not self.connections:
            self._none_left.set()

    async def reap(self) -> None:
        """Close the connections on which nothing comes, for ever.

        That is one look at all of them a second: Tornado would set and clear a timer for each request.
        """
        while True:
            await asyncio.sleep(REAP_SECONDS)
            now = time.monotonic()
            for connection in [each for each in self.connections if each.closes_at < now]:
                connection.close()

    async def close_all_connections(self) -> None:
        for each in list(self.connections):
            each.close()
        with contextlib.suppress(TimeoutError):
            if self.connections:
                await asyncio.wait_for(self._none_left.wait(), CLOSE_SECONDS)
        for each in list(self.connections):
            each.transport.abort()
        await super().close_all_connections()
