"""The fast path: the newest messages, and posts, answered without a `RequestHandler`.

For a list that is in memory most of the work is not ours: Tornado makes a request object and a handler,
matches routes, and puts the answer's headers together one by one. A connection gives requests to a delegate, and
that is all these two need. Whatever is unusual about a request, be it one header, is given on to the application,
which answers it as if nothing had been here.
"""

import asyncio
import functools
import logging
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
)
from tornado.web import Application

from server.api import parsing, wire
from server.api.base import MAX_BODY
from server.api.exchange import Edge, Exchange
from server.api.handlers import post_message
from server.api.problems import STATUS, BadRequest, Problem, problem
from server.connections import MOST_HEADS, SharedHeaders
from server.messages import DEFAULT_LIMIT, MAX_LIMIT, MessageError, OverLimit, Page, Quota
from server.telemetry import start_phases

LIST = "/messages"
LIST_WITH_LIMIT = "/messages?limit="
MOST_PREPARED = 8  # callers ask for few lengths of list, and somebody who asks for all of them fills no memory
STATUS_LINES = {status: f"HTTP/1.1 {status:d} {status.phrase}\r\n" for status in HTTPStatus}


class Asked(NamedTuple):
    """What the head of a request says that the fast path can answer."""

    is_post: bool
    limit: int  # how many of the newest messages
    seen: int
    if_none_match: str | None
    authorization: str | None
    request_id: str | None


@functools.lru_cache(MOST_HEADS)
def asked(start_line: RequestStartLine, headers: SharedHeaders) -> Asked | None:
    """What is asked for; None if that, or how it is asked for, is unusual. Found out once for equal heads."""
    limit = _limit(start_line.path)
    seen = _number(headers.get("Lab-Seen", "0"))
    if start_line.method == "POST":
        is_json = headers.get("Content-Type") == "application/json"
        is_usual = start_line.path == LIST and is_json and int(headers.get("Content-Length", "0")) <= MAX_BODY
    else:
        is_usual = start_line.method in ("GET", "HEAD") and "Content-Length" not in headers
    if not is_usual or limit is None or seen is None:
        return None
    others = (headers.get(name) for name in ("If-None-Match", "Authorization", "X-Request-ID"))
    return Asked(start_line.method == "POST", limit, seen, *others)


class Prepared(NamedTuple):
    """The answer with a page: its body, and the header lines that go with it and with a 304."""

    page: Page
    etag: str
    known_lines: str
    lines: str
    body: bytes


def _prepare(page: Page) -> Prepared:
    etag, body = wire.etag(page), wire.encode(wire.page(page))
    known = {"ETag": etag}
    return Prepared(page, etag, _lines(known), _lines(known | _described("application/json", body)), body)


class FastPath(HTTPServerConnectionDelegate):
    """Answers the most frequent requests itself, and lets `application` answer the others."""

    def __init__(self, edge: Edge, application: Application) -> None:
        self.edge = edge
        self.application = application
        self._prepared: dict[int, Prepared] = {}  # by limit
        self._date = (0, "")

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Request(self, server_conn, request_conn)

    def prepared(self, page: Page, limit: int) -> Prepared:
        """The answer with `page`, made once: who keeps a page in memory gives the same object until it changes."""
        kept = self._prepared.get(limit)
        if kept is None or kept.page is not page:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.clear()
            self._prepared[limit] = kept = _prepare(page)
        return kept

    def date(self) -> str:
        """Now, for the Date header."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True))
        return self._date[1]


class _Request(HTTPMessageDelegate):
    """One request. Decides when its headers have come whose it is."""

    def __init__(self, fast: FastPath, server_conn: object, connection: Any) -> None:
        self._fast = fast
        self._server_conn = server_conn
        self._connection = connection
        self._ordinary: HTTPMessageDelegate | None = None
        self._body = b""

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        self._start_line: RequestStartLine = start_line
        self._headers: SharedHeaders = headers
        usual = asked(start_line, headers)
        if usual is None:
            return self._hand_over()
        self._asked = usual
        return None

    def data_received(self, chunk: bytes) -> Any:
        if self._ordinary is not None:
            return self._ordinary.data_received(chunk)
        self._body += chunk
        return None

    def finish(self) -> None:
        if self._ordinary is not None:
            self._ordinary.finish()
        elif self._asked.is_post:
            self._post()
        elif not self._get():
            self._hand_over()
            self.finish()

    def _hand_over(self) -> Any:
        """From now on this request is the application's, which is told all that was known of it."""
        self._ordinary = self._fast.application.start_request(self._server_conn, self._connection)
        # Headers of its own: those here may be shared with other requests.
        return self._ordinary.headers_received(self._start_line, HTTPHeaders(self._headers))

    def _get(self) -> bool:
        """Answer with a list that is in memory; False if that is not possible."""
        limit, if_none_match = self._asked.limit, self._asked.if_none_match
        page = self._fast.edge.service.recent_kept(limit, self._asked.seen)
        if page is None:
            return False
        exchange = self._let_in()
        if exchange is not None:
            answer = self._fast.prepared(page, limit)
            if parsing.is_known(answer.etag, if_none_match):
                self._send(exchange, HTTPStatus.NOT_MODIFIED, answer.known_lines, b"")
            else:
                self._send(exchange, HTTPStatus.OK, answer.lines, answer.body)
        return True

    def _post(self) -> None:
        """Refuse at once, which has to be cheap, or begin to store."""
        exchange = self._let_in(is_write=True)
        if exchange is not None:
            self._posting = asyncio.create_task(self._store(exchange))  # referred to, or it could vanish while it runs

    def _let_in(self, is_write: bool = False) -> Exchange | None:
        """Begin to answer; None if the request is refused, and answered with that."""
        exchange = Exchange(self._fast.edge, self._start_line.method, LIST, self._asked.request_id)
        try:
            exchange.identify(self._asked.authorization)
            exchange.admit(self._connection.context.remote_ip, is_write)
        except (BadRequest, MessageError) as error:
            self._send_problem(exchange, error)
            return None
        return exchange

    async def _store(self, exchange: Exchange) -> None:
        self._fast.edge.in_flight.enter()
        exchange.phases = start_phases()
        try:
            message, more = await post_message(exchange, self._headers, self._body)
        except Exception as error:
            if not isinstance(error, (BadRequest, *STATUS)):
                logging.exception("Uncaught exception: POST %s", LIST)
            self._send_problem(exchange, error)
        else:
            body = wire.encode(wire.message(message))
            self._send(exchange, HTTPStatus.CREATED, _lines(more | _described("application/json", body)), body)
        finally:
            self._fast.edge.in_flight.leave()

    def _send_problem(self, exchange: Exchange, error: Exception) -> None:
        # Under too much the same refusal is given again and again, and has to cost next to nothing.
        parts = _over_limit(str(error), error.quota) if isinstance(error, OverLimit) else _parts(problem(error))
        self._send(exchange, *parts)

    def _send(self, exchange: Exchange, status: HTTPStatus, lines: str, body: bytes) -> None:
        lines += _lines(exchange.answer_headers())
        head = f"{STATUS_LINES[status]}Date: {self._fast.date()}\r\n{lines}\r\n".encode("latin-1")
        answer = head if self._start_line.method == "HEAD" else head + body
        exchange.answered(status)
        in_flight = self._fast.edge.in_flight
        in_flight.enter()
        # As bytes, because no header of ours can hold what `write_headers` searches each one for.
        self._connection.send(answer, in_flight.leave)


def _limit(path: str) -> int | None:
    """How many messages are asked for, None if this is not all that is asked."""
    if path == LIST:
        return DEFAULT_LIMIT
    number = _number(path.removeprefix(LIST_WITH_LIMIT)) if path.startswith(LIST_WITH_LIMIT) else None
    return number if number is not None and 1 <= number <= MAX_LIMIT else None


@functools.lru_cache(MOST_PREPARED)
def _over_limit(detail: str, quota: Quota) -> tuple[HTTPStatus, str, bytes]:
    return _parts(problem(OverLimit(detail, quota)))


def _parts(said: Problem) -> tuple[HTTPStatus, str, bytes]:
    """The status, header lines and body with which a caller is told of a problem."""
    body = wire.encode(said.document())
    return said.status, _lines(said.headers | _described("application/problem+json", body)), body


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def _described(content_type: str, body: bytes) -> dict[str, str]:
    return {"Content-Type": content_type, "Content-Length": str(len(body))}


def _lines(headers: dict[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
