"""Send one request at a constant rate, however slowly it is answered: an open-loop load generator.

wrk waits for answers, so it offers less where a service is slow, and that hides what too much does to
it. Here each request has a time when it is due. It goes out on a connection that is free, or on a new
one, as from callers who know nothing of each other.
"""

import asyncio
import gc
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import numpy as np
import uvloop

from harness import clock
from loadtests.wrk import MESSAGE

MAX_CONNECTIONS = 1000
# How long the answers to the last requests may take.
GRACE_SECONDS = 5.0
# Where 1 request in 100 goes out later than this, the generator was the limit.
LATE_MS = 50.0
UNANSWERED = 0
Result = TypeVar("Result")
STATUS = re.compile(rb"HTTP/\d\.\d (\d\d\d)")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
LAST_CHUNK = b"0\r\n\r\n"
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(slots=True)
class OfferedRequest:
    """One request: when it was due, begun and answered (s, on the run's clock), and the status of its answer."""

    due: float
    begun: float
    answered: float = float("nan")
    status: int = UNANSWERED


@dataclass(frozen=True)
class OpenLoopResult:
    """The requests that were due in `seconds`; those of the warm-up are left out."""

    requests: list[OfferedRequest]
    seconds: float

    def per_s(self, status: int) -> float:
        """Requests per second that got `status`."""
        return sum(each.status == status for each in self.requests) / self.seconds

    def p99_ms(self, status: int) -> float:
        """The 99th percentile of the time until the answer, of requests that got `status`, in ms; nan if none did."""
        times = [each.answered - each.begun for each in self.requests if each.status == status]
        return float(np.percentile(times, 99)) * 1000 if times else float("nan")

    def void(self, *expected: int) -> str:
        """Why this is not to be counted: a status not among those `expected`; empty if it is."""
        strange = [each.status for each in self.requests if each.status not in expected]
        return (
            f"{len(strange)} of {len(self.requests)} requests got {strange[0] or 'no answer'} or the like"
            if strange
            else ""
        )

    def late(self) -> str:
        """Why the generator, not the service, was the limit; empty if it kept up."""
        late_ms = float(np.percentile([each.begun - each.due for each in self.requests], 99)) * 1000
        return f"the generator was {late_ms:.0f} ms late, and so the limit" if late_ms > LATE_MS else ""


def post(url: str, key: str | None = None) -> bytes:
    """The request that posts MESSAGE to `url`, with an access key if there is one, as it goes over the wire."""
    parts = urlsplit(url)
    lines = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(MESSAGE)}",
        *([] if key is None else [f"Authorization: Bearer {key}"]),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + MESSAGE


def run(offering: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine, on the fastest event loop there is: the generator is not to be the limit.

    Nor does it look for garbage meanwhile. With pandas in memory that takes 50 ms, and whatever is under way then
    would be timed as slow.
    """
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(offering)
    finally:
        gc.enable()


async def offer(
    url: str, request: bytes | Callable[[int], bytes], rate: float, seconds: float, warmup: float = 1.0
) -> OpenLoopResult:
    """Send `request` to the server of `url` `rate` times a second, for `warmup` seconds and then for `seconds`.

    If `request` is a function, it gives the bytes of each request by its number. A request for which no connection can
    be had stays unanswered. One that asks for it (`Connection: close`) has a connection of its own.
    """
    callers = _Callers(url)
    requests = []
    try:
        began = clock.now()
        for number in range(round(rate * (warmup + seconds))):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - clock.now()))
            requests.append(OfferedRequest(due, clock.now()))
            callers.send(request(number) if callable(request) else request, requests[-1])
        deadline = clock.now() + GRACE_SECONDS
        while callers.waiting and clock.now() < deadline:  # noqa: ASYNC110  the load is over: polling disturbs nobody
            await asyncio.sleep(0.01)
    finally:
        callers.close()
    return OpenLoopResult([each for each in requests if each.due >= began + warmup], seconds)


class _Callers:
    """The connections to one server: as many as there are requests at a time, up to MAX_CONNECTIONS."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._all: set[_Connection] = set()
        self._free: list[_Connection] = []
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> bool:
        """Whether an answer may still come."""
        return bool(self._opening) or len(self._free) < len(self._all)

    def send(self, request: bytes, sent: OfferedRequest) -> None:
        """Send `request` now, or as soon as there is a connection for it."""
        if self._free:
            self._free.pop().send(request, sent)
        elif len(self._all) + len(self._opening) < MAX_CONNECTIONS:
            task = asyncio.create_task(self._send_on_a_new_one(request, sent))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def close(self) -> None:
        for task in self._opening:
            task.cancel()
        for connection in list(self._all):
            connection.transport.abort()

    def opened(self, connection: "_Connection") -> None:
        self._all.add(connection)

    def freed(self, connection: "_Connection") -> None:
        self._free.append(connection)

    def lost(self, connection: "_Connection") -> None:
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    async def _send_on_a_new_one(self, request: bytes, sent: OfferedRequest) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            return  # refused or reset: unanswered
        connection.send(request, sent)


class _Connection(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    transport: asyncio.Transport

    def __init__(self, callers: _Callers) -> None:
        self._callers = callers
        self._received = b""
        self._sent: OfferedRequest | None = None
        self._is_last = False

    def send(self, request: bytes, sent: OfferedRequest) -> None:
        self._received, self._sent = b"", sent
        self._is_last = CLOSE.search(request) is not None
        self.transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._callers.opened(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        if self._sent is None or not ended or not _is_whole(head, body):
            return
        self._answered(head)
        if self._is_last or CLOSE.search(head) or head.startswith(b"HTTP/1.0"):
            self.transport.close()
        else:
            self._callers.freed(self)

    def connection_lost(self, error: Exception | None) -> None:
        head, ended, _ = self._received.partition(b"\r\n\r\n")
        if self._sent is not None and ended and error is None and not CONTENT_LENGTH.search(head):
            self._answered(head)  # the end of the connection is the end of the answer
        self._callers.lost(self)

    def _answered(self, head: bytes) -> None:
        status = STATUS.match(head)
        if self._sent is not None and status is not None:
            self._sent.status, self._sent.answered = int(status[1]), clock.now()
        self._sent = None


def _is_whole(head: bytes, body: bytes) -> bool:
    """Whether `body` is whole, by what the head says; without a length it lasts until the connection ends."""
    if length := CONTENT_LENGTH.search(head):
        return len(body) >= int(length[1])
    return CHUNKED.search(head) is not None and body.endswith(LAST_CHUNK)
