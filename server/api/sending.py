"""Sends answers that are made whole, as bytes: those of the fast path, and refusals."""

import functools
import time
from email.utils import formatdate
from http import HTTPStatus

from server.api import wire
from server.api.exchange import Exchange
from server.api.problems import Problem, problem
from server.http1.answer import Answer
from server.messages import OverLimit, Quota
from server.telemetry import InFlight

STATUS_LINES = {status: f"HTTP/1.1 {status:d} {status.phrase}\r\n" for status in HTTPStatus}
REFUSALS = 8  # refusals over a limit to keep; under overload the same one is sent many times, and has to be cheap


class Sender:
    """Sends whole answers, and counts each as in flight until its caller has taken it."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._date = (0, "")

    def send(self, answer: Answer, exchange: Exchange, status: HTTPStatus, lines: str, body: bytes) -> None:
        """Send an answer; `lines` are the header lines that concern its content."""
        if connection := answer.connection_header:
            lines += f"Connection: {connection}\r\n"
        head = f"{STATUS_LINES[status]}Date: {self._now()}\r\n{lines}{header_lines(exchange.response_headers())}\r\n"
        exchange.finished(status)
        self._in_flight.enter()
        # As bytes, because `write_headers` would search each header for line breaks, which ours cannot contain.
        answer.send(head.encode("latin-1"), body, self._in_flight.leave)

    def send_problem(self, answer: Answer, exchange: Exchange, error: BaseException) -> None:
        """Send an error as problem+json."""
        parts = _over_limit(str(error), error.quota) if isinstance(error, OverLimit) else _parts(problem(error))
        self.send(answer, exchange, *parts)

    def _now(self) -> str:
        """The value of the header Date, which changes once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True))
        return self._date[1]


def header_lines(headers: dict[str, str]) -> str:
    """The lines of these headers, each with its end."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def content_headers(content_type: str, body: bytes) -> dict[str, str]:
    """The headers of every body."""
    return {"Content-Type": content_type, "Content-Length": str(len(body))}


@functools.lru_cache(REFUSALS)
def _over_limit(detail: str, quota: Quota) -> tuple[HTTPStatus, str, bytes]:
    return _parts(problem(OverLimit(detail, quota)))


def _parts(error: Problem) -> tuple[HTTPStatus, str, bytes]:
    """A problem's status, header lines and body."""
    body = wire.encode(error.document())
    return error.status, header_lines(error.headers | content_headers("application/problem+json", body)), body
