"""HTTP/1.1 on raw gevent sockets, for users that cost Locust little: one connection, one request at a time.

A request is bytes, an answer is read by its length. That is all that a load generator needs, and a fraction of what a
client library costs. Only for a process in which gevent runs, as in Locust's.
"""

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import gevent
import gevent.socket
import gevent.ssl
import requests

from loadtests.sessions import ANSWER_SECONDS, CONNECT_SECONDS, Answer

CHUNK = 64 * 1024
WATCH_SECONDS = 0.5
REPEATABLE = (b"GET ", b"HEAD ", b"OPTIONS ", b"PUT ", b"DELETE ")
BODILESS = {204, 304}

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_KEEP_ALIVE = re.compile(rb"\r\nconnection: *keep-alive", re.IGNORECASE)


class ConnectionLost(Exception):
    """The server closed the connection before its answer was complete. `early`: before it had sent a byte."""

    def __init__(self, text: str, early: bool = False) -> None:
        super().__init__(text)
        self.early = early


class RawConnection:
    """A connection to the server of an address such as https://host:port; made when it is first used, and again."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._tls else 80)
        self.host, self.prefix = parts.netloc, parts.path.rstrip("/")
        self._channel: _Channel | _TlsChannel | None = None
        self.deadline = 0.0  # of the answer that is awaited; 0 if none is

    def exchange(self, request: bytes, timeout: float = ANSWER_SECONDS) -> tuple[int, bytes, bytes]:
        """Send a request; return the status, the head and the body of its answer.

        Raises `requests.ConnectionError`, or `requests.Timeout` if a watchdog (`abort_overdue`) ended the wait.
        """
        if self._channel is not None and self._channel.has_ended:
            self.close()
        reused = self._channel is not None
        self.deadline = time.perf_counter() + timeout
        try:
            try:
                return self._exchange(request)
            except (ConnectionLost, OSError) as error:
                self.close()
                # The server may close a connection just when it is used again: as a browser does, send it once more.
                early = isinstance(error, OSError) or error.early
                if not (reused and early and request.startswith(REPEATABLE)) or time.perf_counter() > self.deadline:
                    raise
                return self._exchange(request)
        except (ConnectionLost, OSError, ValueError) as error:
            self.close()
            if time.perf_counter() > self.deadline:
                raise requests.Timeout(f"no answer within {timeout:g} s") from error
            raise requests.ConnectionError(str(error)) from error
        finally:
            self.deadline = 0.0

    def abort_overdue(self, now: float) -> None:
        """End the wait for an answer whose deadline is over. A timer for each request would cost more than it does."""
        if self.deadline and now > self.deadline and self._channel is not None:
            self._channel.abort()

    def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _connect(self) -> "_Channel | _TlsChannel":
        made = gevent.socket.create_connection((self._host, self._port), timeout=CONNECT_SECONDS)
        made.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
        made.settimeout(None)  # the watchdog looks after that
        if self._tls:
            return _TlsChannel(gevent.ssl.create_default_context().wrap_socket(made, server_hostname=self._host))
        return _Channel(made)

    def _exchange(self, request: bytes) -> tuple[int, bytes, bytes]:
        channel = self._channel
        if channel is None:
            channel = self._channel = self._connect()
        channel.send(request)
        received = self._receive(b"")
        while True:
            end = received.find(b"\r\n\r\n")
            while end < 0:
                received = self._receive(received)
                end = received.find(b"\r\n\r\n")
            head, received = received[:end], received[end + 4 :]
            status = int(head[9:12])
            if status >= 200:
                break
            received = received or self._receive(b"")  # 100 Continue and the like: the answer follows
        found = _LENGTH.search(head)
        if found is not None and len(received) == int(found[1]) and b"onnection:" not in head and head[5:8] == b"1.1":
            return status, head, received  # nearly always so
        body, closes = self._body(request, head, status, received)
        if closes or _closes(head):
            self.close()
        return status, head, body

    def _body(self, request: bytes, head: bytes, status: int, received: bytes) -> tuple[bytes, bool]:
        """The body, and whether the end of the connection ended it."""
        if request.startswith(b"HEAD ") or status in BODILESS:
            return b"", False
        found = _LENGTH.search(head)
        if found is not None:
            length = int(found[1])
            if len(received) < length:
                parts, count = [received], len(received)
                while count < length:
                    parts.append(self._receive_more())
                    count += len(parts[-1])
                received = b"".join(parts)
            return received[:length], False
        if _CHUNKED.search(head):
            return self._chunks(received), False
        assert self._channel is not None
        while data := self._channel.receive():
            received += data
        return received, True

    def _chunks(self, received: bytes) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in received:
                received = self._receive(received)
            line, _, received = received.partition(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            if not size:
                while not received.startswith(b"\r\n") and b"\r\n\r\n" not in received:  # trailers, if there are any
                    received = self._receive(received)
                return body
            while len(received) < size + 2:
                received = self._receive(received)
            body, received = body + received[:size], received[size + 2 :]

    def _receive(self, received: bytes) -> bytes:
        assert self._channel is not None
        data = self._channel.receive()
        if not data:
            raise ConnectionLost("the server closed the connection before it answered", early=not received)
        return received + data if received else data

    def _receive_more(self) -> bytes:
        assert self._channel is not None
        data = self._channel.receive()
        if not data:
            raise ConnectionLost("the server closed the connection in the middle of its answer")
        return bytes(data)


class _Channel:
    """Sends and receives on a socket, with one watcher for all its life: gevent starts and stops one each time."""

    def __init__(self, made: Any) -> None:
        self.has_ended = False  # or has sent what nobody asked for
        self._socket, self._raw = made, made._sock
        self._hub = gevent.get_hub()
        self._waiting: Any = None
        self._watcher = self._hub.loop.io(made.fileno(), 1)  # 1: something can be read
        self._watcher.start(self._wake)

    def send(self, data: bytes) -> None:
        sent = self._raw.send(data)
        if sent < len(data):
            self._socket.sendall(data[sent:])

    def receive(self) -> bytes:
        """What has come, when something has; nothing at the end."""
        self._waiting = gevent.getcurrent()
        try:
            self._hub.switch()
        finally:
            self._waiting = None
        return bytes(self._raw.recv(CHUNK))

    def abort(self) -> None:
        """Wake whoever waits for something to receive: nothing comes."""
        try:
            self._socket.shutdown(gevent.socket.SHUT_RDWR)
        except OSError:
            self.has_ended = True

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        self._socket.close()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.switch()
        else:
            self.has_ended = True
            self._watcher.stop()


class _TlsChannel:
    """The same over TLS, which may hold back what has come: gevent's own socket knows."""

    has_ended = False

    def __init__(self, made: Any) -> None:
        self._socket = made

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        return bytes(self._socket.recv(CHUNK))

    def abort(self) -> None:
        self._socket.close()

    def close(self) -> None:
        self._socket.close()


def _closes(head: bytes) -> bool:
    """Whether the server closes the connection after this answer."""
    if head[5:8] == b"1.0":
        return _KEEP_ALIVE.search(head) is None
    return b"onnection:" in head and _CLOSE.search(head) is not None


class RawTransport:
    """Sends what behaviours ask for over a raw connection: see `loadtests.sessions.Transport`."""

    def __init__(self, connection: RawConnection, url: str) -> None:
        self._connection = connection
        self._origin = urlsplit(url)._replace(path="", query="", fragment="").geturl()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float | None
    ) -> Answer:
        parts = urlsplit(url)
        origin = parts._replace(path="", query="", fragment="").geturl()
        connection = self._connection if origin == self._origin else RawConnection(origin)
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        fields = {"Host": parts.netloc, "Accept": "*/*", **headers}
        if body is not None or method in {"POST", "PUT", "PATCH"}:
            fields["Content-Length"] = str(len(body or b""))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
        status, head, content = connection.exchange(data, timeout or ANSWER_SECONDS)
        if connection is not self._connection:
            connection.close()
        first, *rest = head.decode("latin-1").split("\r\n")
        found = (line.partition(":") for line in rest)
        return Answer(url, status, first[13:], {name: value.strip() for name, _, value in found}, content)

    def close(self) -> None:
        self._connection.close()
