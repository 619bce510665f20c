"""How a request is answered."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)

from server.http1.reading import Request

if TYPE_CHECKING:
    from server.http1.connection import Connection

WITHOUT_BODY = {204, 304}


class RequestContext(NamedTuple):
    """The caller's address and the protocol, under the names that Tornado's requests expect."""

    remote_ip: str
    protocol: str = "http"


class Answer(HTTPConnection):
    """The answer to one request: a whole one by `send`, or in parts, as Tornado's handlers give it."""

    has_begun = False
    giving_body: "asyncio.Future[None] | None" = None  # kept here, as the event loop holds only weak references
    _is_last = False
    _is_chunked = False
    _missing: int | None = None  # bytes of the declared length that have not been written
    _gone: Callable[[], None] | None = None

    def __init__(self, connection: "Connection", request: Request, address: str) -> None:
        self.request = request
        self.address = address  # whom the request is from
        self._connection = connection

    @property
    def context(self) -> RequestContext:
        """The same for Tornado."""
        return RequestContext(self.address)

    @property
    def is_last(self) -> bool:
        """Whether the connection ends with this answer: the caller or the handler wants it so, or the server stops."""
        return self._is_last or not self.request.keeps_alive or self._connection.server.is_stopping

    def send(self, head: bytes, body: bytes, flushed: Callable[[], None]) -> None:
        """Send a whole answer, whose `head` tells the length of its body; it is ended here.

        `flushed` is called when the caller has taken nearly all of it, or has gone.
        """
        request, is_last, self.has_begun = self.request, self.is_last, True
        if connection := _connection(request, is_last):
            head += b"Connection: %b\r\n" % connection.encode()
        self._connection.send(head + b"\r\n" + (b"" if request.method == b"HEAD" else body), flushed)
        self._connection.answered(is_last)

    # What Tornado's handlers call.

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "asyncio.Future[None]":
        """Send the head, and the beginning of the body. Raises `ValueError` if a header holds a line break."""
        assert isinstance(start_line, ResponseStartLine)
        has_body = self.request.method != b"HEAD" and start_line.code not in WITHOUT_BODY
        if "Content-Length" in headers:
            self._missing = _length(headers["Content-Length"]) if has_body else None
        elif has_body and self.request.version == "1.1":
            headers["Transfer-Encoding"] = "chunked"
            self._is_chunked = True
        elif has_body:
            self._is_last = True  # the end of the connection marks the end of the body
        # Decided here, as the head says it: the server may begin to stop before the body is complete.
        self._is_last = self.is_last or headers.get("Connection", "").lower() == "close"
        if connection := _connection(self.request, self._is_last):
            headers["Connection"] = connection
        lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError(f"a header holds a line break: {lines}")
        return self._write("\r\n".join([*lines, "", ""]).encode("latin-1") + self._framed(chunk))

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        """Send more of the body."""
        return self._write(self._framed(chunk))

    def finish(self) -> None:
        """The answer is complete. One that is shorter than it said ends with the connection, so that it shows."""
        if self._missing:
            self._connection.abort()
            raise HTTPOutputError(f"Tried to write {self._missing} bytes less than Content-Length")
        if self._is_chunked:
            self._write(b"0\r\n\r\n")
        self._connection.answered(self._is_last)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called if the caller goes before it is answered."""
        self._gone = callback

    def gone(self) -> None:
        """The caller has gone."""
        if self._gone is not None:
            self._gone()

    def _framed(self, chunk: bytes | None) -> bytes:
        if not chunk:
            return b""
        if self._is_chunked:
            return b"%x\r\n%b\r\n" % (len(chunk), chunk)
        if self._missing is not None:
            if len(chunk) > self._missing:
                self._connection.abort()
                raise HTTPOutputError("Tried to write more data than Content-Length")
            self._missing -= len(chunk)
        return chunk

    def _write(self, data: bytes) -> "asyncio.Future[None]":
        self.has_begun = True
        flushed = asyncio.get_running_loop().create_future()
        self._connection.send(data, lambda: None if flushed.done() else flushed.set_result(None))
        return flushed


def _connection(request: Request, is_last: bool) -> str:
    """The value of the header Connection; empty if the request's version of HTTP does so by itself."""
    if request.version == "1.1":
        return "close" if is_last else ""
    return "" if is_last else "Keep-Alive"


def _length(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise HTTPOutputError(f"Content-Length is no number: {value}")
    return int(value)
