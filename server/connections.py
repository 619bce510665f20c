"""HTTP/1.1 connections that cost less than Tornado's (docs/performance.md has what each part is worth).

Nearly all requests are plain: a short head, often identical to the one before it on the connection, and a short body
of declared length, or none. `Connection` parses those and passes them to a delegate, as Tornado's own connection
does. When anything else arrives, well-formed or not, the connection is handed over to Tornado for the rest of its
life.
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
MAX_HEAD = 4 * 1024
MAX_BODY = 64 * 1024
CACHED_HEADS = 256  # a few megabytes, if all have the maximum length
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
WITHOUT_BODY = {204, 304}


class SharedHeaders(HTTPHeaders):
    """Immutable headers shared by requests with identical heads; hashed by identity, so results can be memoised."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Head(NamedTuple):
    """The head of a plain request, and the length of its body in bytes."""

    start_line: RequestStartLine
    headers: SharedHeaders
    length: int


@functools.lru_cache(CACHED_HEADS)
def plain(head: bytes) -> Head | None:
    """Parse a request's head, without its final empty line; None if the request is not plain, and so Tornado's.

    Tornado's own functions parse it. The result for identical heads is cached.
    """
    if head.count(b"\n") != head.count(b"\r\n"):  # Tornado also accepts bare line feeds
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
        and int(length) <= MAX_BODY
    )
    return Head(start_line, headers, int(length)) if is_plain else None


class RequestContext(NamedTuple):
    """The peer's address and the protocol, under the names that Tornado's requests expect."""

    remote_ip: str
    protocol: str = "http"


class Connection(asyncio.Protocol):
    """Parses plain requests; passes each to the delegate when it is complete and the one before it is answered."""

    transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self.closes_at = math.inf  # deadline for what is awaited, on the monotonic clock
        self._server = server
        self._received = b""
        self._head: Head | None = None  # of the request whose body has not arrived yet
        self._answer: Answer | None = None  # to the request that is being answered
        self._unsent: list[tuple[bytes, Callable[[], None]]] = []
        self._unsent_since = 0.0  # the first of them, on the monotonic clock
        self._flush_callbacks: list[Callable[[], None]] = []  # called when the peer has taken what was written
        self._write_is_blocked = False  # the transport's buffer is full: the peer does not read
        self._read_is_paused = False
        self._peer_has_finished = False  # half-closed: the peer sends no more
        self._for_tornado: socket.socket | None = None

    def write_soon(self, data: bytes, flushed: Callable[[], None]) -> None:
        """Queue the bytes; they are flushed in the next loop iteration, batched across connections.

        Every write wakes the peer's process, which costs more than making the answer; batched, the wake-ups coincide.
        `flushed` is called when the transport's buffer is below its limit, or the connection is lost.
        """
        if not self._unsent:
            self._unsent_since = time.monotonic()
            asyncio.get_running_loop().call_soon(self._write_and_serve)
        self._unsent.append((data, flushed))

    def answered(self, is_last: bool) -> None:
        """End the current exchange: go on to the next request, or close the connection."""
        self._answer = None
        if is_last:
            self.close()
        else:
            self._serve()

    def close(self) -> None:
        """Close the connection after everything queued has been written."""
        self._write()
        self.transport.close()

    # Callbacks of the transport (asyncio.Protocol).

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("peername") or ("", 0)
        self.context = RequestContext(self.address[0])
        self._server.opened(self)
        self._read_on(IDLE_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._server.reads()
        self._received += data
        if self._is_free():
            self._serve()
        else:  # a pipelined request waits until the one before it is answered
            self._read_is_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._peer_has_finished = True
        self._serve()
        return True  # keep the transport open: the requests that have arrived are still answered

    def pause_writing(self) -> None:
        self._write_is_blocked = True

    def resume_writing(self) -> None:
        self._write_is_blocked = False
        self._call_flush_callbacks()
        self._serve()

    def connection_lost(self, error: Exception | None) -> None:
        self._write_is_blocked = False
        self._write()
        self._server.lost(self)
        if self._for_tornado is not None:
            self._server.handle_stream(PrereadStream(self._for_tornado, self._received), self.address)

    # Parsing and dispatching.

    def _is_free(self) -> bool:
        """Whether the next request may be dispatched: the one before it is answered, and the answer is written."""
        return (
            self._answer is None and not self._unsent and not self._write_is_blocked and not self.transport.is_closing()
        )

    def _serve(self) -> None:
        """Dispatch the next request if it has arrived completely, else wait for more bytes."""
        if not self._is_free():
            return
        if self._head is None:
            lines, ended, rest = self._received.partition(b"\r\n\r\n")
            if not ended and len(lines) < MAX_HEAD and END_OF_HEAD.search(lines) is None:
                self._read_on(IDLE_SECONDS)
                return
            self._head = plain(lines) if ended and len(lines) + len(ended) <= MAX_HEAD else None
            if self._head is None:
                self._hand_over_to_tornado()
                return
            self._received = rest
            self.closes_at = math.inf
        if len(self._received) < self._head.length:
            self._read_on(RECEIVE_SECONDS)
            return
        head, self._head = self._head, None
        body, self._received = self._received[: head.length], self._received[head.length :]
        self.closes_at = math.inf
        self._dispatch(head, body)

    def _dispatch(self, head: Head, body: bytes) -> None:
        self._answer = Answer(self)
        request = self._server.delegate.start_request(self, self._answer)
        try:
            waiting = request.headers_received(head.start_line, head.headers)
            assert waiting is None, "a delegate that reads bodies asynchronously needs Tornado's own connection"
            if body:
                request.data_received(body)
            request.finish()
        except HTTPInputError:  # raised by Tornado's application, for a bad Host for example
            self.write_soon(BAD_REQUEST, lambda: None)
            self.close()
        except Exception:  # a bug: all that the caller can be told is that the connection ends
            logging.exception("Uncaught exception: %s %s", head.start_line.method, head.start_line.path)
            self.transport.abort()

    def _read_on(self, seconds: float) -> None:
        """Wait for more bytes, until `seconds` after this wait began; close if the peer has finished."""
        if self._peer_has_finished:
            self.close()
            return
        self.closes_at = min(self.closes_at, time.monotonic() + seconds)
        if self._read_is_paused:
            self._read_is_paused = False
            self.transport.resume_reading()

    def _write_and_serve(self) -> None:
        self._write()
        self._serve()

    def _write(self) -> None:
        """Pass the queued bytes to the transport."""
        unsent, self._unsent = self._unsent, []
        if unsent:
            self._server.sends(self._unsent_since)
        for data, flushed in unsent:
            if not self.transport.is_closing():
                self.transport.write(data)
            self._flush_callbacks.append(flushed)
        if not self._write_is_blocked:
            self._call_flush_callbacks()

    def _call_flush_callbacks(self) -> None:
        callbacks, self._flush_callbacks = self._flush_callbacks, []
        for flushed in callbacks:
            flushed()

    def _hand_over_to_tornado(self) -> None:
        """Close this transport but not the socket; Tornado gets that, and the bytes read so far, when it is closed."""
        self.closes_at = math.inf
        self._for_tornado = socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
        self.transport.close()


class Answer(HTTPConnection):
    """The answer to one request, as Tornado's handlers and the fast path write it."""

    def __init__(self, connection: Connection) -> None:
        self.context = connection.context
        self._connection = connection
        self._is_last = False

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "asyncio.Future[None]":
        assert isinstance(start_line, ResponseStartLine)
        if "Content-Length" not in headers and start_line.code not in WITHOUT_BODY:
            headers["Connection"] = "close"  # the end of the connection marks the end of the body
        self._is_last = headers.get("Connection", "").lower() == "close"
        lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError(f"a header holds a line break: {lines}")
        return self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (chunk or b""))

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        flushed = asyncio.get_running_loop().create_future()
        self._connection.write_soon(chunk, lambda: None if flushed.done() else flushed.set_result(None))
        return flushed

    def send(self, answer: bytes, flushed: Callable[[], None]) -> None:
        """Send a whole answer, head and body; `flushed` is called as in `Connection.write_soon`."""
        self._connection.write_soon(answer, flushed)
        self.finish()

    def finish(self) -> None:
        self._connection.answered(self._is_last)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Ignored: handlers are not told that a peer has gone, their answers are discarded."""


class TimedStream(IOStream):
    """A Tornado stream that knows when it last read: Tornado begins with a request in a later turn of the event loop.

    `read_at` is in seconds, on the clock `time.perf_counter`.
    """

    read_at = 0.0

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        began = time.perf_counter()
        read = super().read_from_fd(buf)
        if read:
            self.read_at = began
        return read


class PrereadStream(TimedStream):
    """A Tornado stream on a socket from which some bytes have been read already: these are read first."""

    def __init__(self, socket: socket.socket, received: bytes) -> None:
        super().__init__(socket)
        self._received = received
        self.read_at = time.perf_counter()

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._received:
            return super().read_from_fd(buf)
        again, self._received = self._received[: len(buf)], self._received[len(buf) :]
        buf[: len(again)] = again
        return len(again)


class Server(HTTPServer):
    """Passes plain requests to `delegate`; connections with other requests are served by Tornado's `application`."""

    def initialize(  # type: ignore[override]  # Tornado's `Configurable` calls it with what the class is called with
        self, delegate: HTTPServerConnectionDelegate, application: Application, **limits: Any
    ) -> None:
        super().initialize(application, **limits)
        self.delegate = delegate
        self.connections: set[Connection] = set()
        self.unsent_seconds = 0.0  # how long answers have waited to be sent, together
        self._unsent: list[float] = []  # since when those wait that the event loop sends at the end of this turn
        self._listening: list[asyncio.Server] = []
        self._none_left = asyncio.Event()

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on `sockets`. Used instead of Tornado's `add_sockets`."""
        loop = asyncio.get_running_loop()
        for each in sockets:
            self._listening.append(await loop.create_server(lambda: Connection(self), sock=each, backlog=BACKLOG))

    def stop(self) -> None:
        for each in self._listening:
            each.close()
        super().stop()

    def sends(self, since: float) -> None:
        """Note that an answer which has waited `since` then is passed to the event loop.

        asyncio sends it at once; uvloop when it has called what is due, before it reads from any connection.
        """
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.BaseEventLoop):
            self.unsent_seconds += time.monotonic() - since
            return
        if not self._unsent:
            loop.call_soon(self.reads)
        self._unsent.append(since)

    def reads(self) -> None:
        """Note that the event loop reads, or is in its next turn: it has sent what it had to."""
        if not self._unsent:
            return
        self.unsent_seconds += len(self._unsent) * time.monotonic() - sum(self._unsent)
        self._unsent.clear()

    def opened(self, connection: Connection) -> None:
        """Register an open connection."""
        self.connections.add(connection)
        self._none_left.clear()

    def lost(self, connection: Connection) -> None:
        """Unregister a connection that is closed, or was handed over to Tornado."""
        self.connections.discard(connection)
        if not self.connections:
            self._none_left.set()

    async def run(self) -> None:
        """Close the connections whose time is over, for ever.

        All are looked at once a second. Tornado would set and clear a timer for each request.
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
