"""Sends answers that are made whole, as bytes: those of the fast path, and refusals."""

import functools
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from server.api import wire
from server.api.exchange import Exchange
from server.api.problems import Problem, problem
from server.http1.answer import Answer
from server.messages import OverLimit, Quota
from server.telemetry import InFlight

STATUS_LINES = {status.value: f"HTTP/1.1 {status:d} {status.phrase}\r\n".encode() for status in HTTPStatus}
REFUSALS = 8  # refusals over a limit to keep; under overload the same one is sent many times, and has to be cheap


class Content(NamedTuple):
    """What an answer consists of whoever gets it: its status, the beginning of its head, and its body."""

    status: int
    head: bytes
    body: bytes

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], media_type: str = "", body: bytes = b"") -> "Content":
        """Content with these headers, and those of a body if it has a media type."""
        if media_type:
            headers = {**headers, "Content-Type": media_type, "Content-Length": str(len(body))}
        return cls(status, STATUS_LINES[status] + _lines(headers), body)


class Sender:
    """Sends whole answers, and counts each as in flight until its caller has taken it."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._date = b""  # the header Date, which changes once a second
        self._date_until = 0.0  # Unix seconds

    def send(self, answer: Answer, exchange: Exchange, content: Content) -> None:
        """Send an answer."""
        now = time.time()
        if not self._date_until - 1 <= now < self._date_until:
            self._date, self._date_until = _lines({"Date": formatdate(now, usegmt=True)}), int(now) + 1
        head = content.head + self._date + exchange.header_lines().encode("latin-1")
        exchange.finished(content.status)
        self._in_flight.enter()
        # As bytes, because `write_headers` would search each header for line breaks, which ours cannot contain.
        answer.send(head, content.body, self._in_flight.leave)

    def send_problem(self, answer: Answer, exchange: Exchange, error: BaseException) -> None:
        """Send an error as problem+json."""
        content = _over_limit(str(error), error.quota) if isinstance(error, OverLimit) else _content(problem(error))
        self.send(answer, exchange, content)


def _lines(headers: Mapping[str, str]) -> bytes:
    """The lines of these headers, each with its end."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")


@functools.lru_cache(REFUSALS)
def _over_limit(detail: str, quota: Quota) -> Content:
    return _content(problem(OverLimit(detail, quota)))


def _content(error: Problem) -> Content:
    return Content.of(error.status, error.headers, "application/problem+json", wire.encode(error.document()))
