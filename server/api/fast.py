"""The fast path: answers reads of cached recent messages, and posts, without a `RequestHandler`.

For a cached list most of the cost is Tornado's: it creates a request object and a handler, matches routes, and builds
the response's headers one by one. These two requests need only what a connection passes to its delegate. A request
that is unusual in any way is passed to the application, which answers it as if there were no fast path.
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
from server.api.exchange import Dependencies, Exchange
from server.api.handlers import post_message
from server.api.problems import STATUS, BadRequest, Problem, problem
from server.connections import CACHED_HEADS, SharedHeaders
from server.messages import DEFAULT_LIMIT, MAX_LIMIT, MessageError, OverLimit, Page, Quota

LIST = "/messages"
LIST_WITH_LIMIT = "/messages?limit="
MAX_PREPARED = 8  # encoded pages to cache, by limit; few limits are common, and the bound limits memory
STATUS_LINES = {status: f"HTTP/1.1 {status:d} {status.phrase}\r\n" for status in HTTPStatus}


class FastRequest(NamedTuple):
    """A request that the fast path can answer, as its head describes it."""

    is_post: bool
    limit: int  # how many of the newest messages
    seen: int
    if_none_match: str | None
    authorization: str | None
    request_id: str | None


@functools.lru_cache(CACHED_HEADS)
def fast_request(start_line: RequestStartLine, headers: SharedHeaders) -> FastRequest | None:
    """Parse a request's head; None if the application has to answer it. Cached, as equal heads share their headers."""
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
    return FastRequest(start_line.method == "POST", limit, seen, *others)


class Prepared(NamedTuple):
    """An encoded page: its body, and the header lines of a 200 and of a 304."""

    page: Page
    etag: str
    known_lines: str
    lines: str
    body: bytes


def _prepare(page: Page) -> Prepared:
    etag, body = wire.etag(page), wire.encode(wire.page(page))
    known = {"ETag": etag}
    return Prepared(page, etag, _lines(known), _lines(known | _content_headers("application/json", body)), body)


class FastPath(HTTPServerConnectionDelegate):
    """Tornado's server delegate: answers the most frequent requests itself, and passes others to `application`."""

    def __init__(self, dependencies: Dependencies, application: Application) -> None:
        self.dependencies = dependencies
        self.service = dependencies.service
        self.in_flight = dependencies.in_flight
        self.application = application
        self._prepared: dict[int, Prepared] = {}  # by limit
        self._date = (0, "")

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Request(self, server_conn, request_conn)

    def prepared(self, page: Page, limit: int) -> Prepared:
        """Return the encoded page, which is cached by the identity of `page`."""
        cached = self._prepared.get(limit)
        if cached is None or cached.page is not page:
            if len(self._prepared) >= MAX_PREPARED:
                self._prepared.clear()
            self._prepared[limit] = cached = _prepare(page)
        return cached

    def date(self) -> str:
        """The value of the Date header, which changes once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True))
        return self._date[1]


class _Request(HTTPMessageDelegate):
    """One request. When its headers have arrived it decides who answers: the fast path or the application."""

    def __init__(self, fast: FastPath, server_conn: object, connection: Any) -> None:
        self._fast = fast
        self._server_conn = server_conn
        self._connection = connection
        self._ordinary: HTTPMessageDelegate | None = None
        self._body = b""

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        self._start_line: RequestStartLine = start_line
        self._headers: SharedHeaders = headers
        fast = fast_request(start_line, headers)
        if fast is None:
            return self._hand_over()
        self._request = fast
        return None

    def data_received(self, chunk: bytes) -> Any:
        if self._ordinary is not None:
            return self._ordinary.data_received(chunk)
        self._body += chunk
        return None

    def finish(self) -> None:
        if self._ordinary is not None:
            self._ordinary.finish()
        elif self._request.is_post:
            self._post()
        elif not self._get():
            self._hand_over()
            self.finish()

    def _hand_over(self) -> Any:
        """Pass this request to the application, with the headers read so far."""
        self._ordinary = self._fast.application.start_request(self._server_conn, self._connection)
        # A copy, because these headers may be shared with other requests.
        return self._ordinary.headers_received(self._start_line, HTTPHeaders(self._headers))

    def _get(self) -> bool:
        """Send the cached list; return False if the list is not cached."""
        limit, if_none_match = self._request.limit, self._request.if_none_match
        page = self._fast.service.recent_cached(limit, self._request.seen)
        if page is None:
            return False
        exchange = self._admit()
        if exchange is not None:
            prepared = self._fast.prepared(page, limit)
            if parsing.is_known(prepared.etag, if_none_match):
                self._send(exchange, HTTPStatus.NOT_MODIFIED, prepared.known_lines, b"")
            else:
                self._send(exchange, HTTPStatus.OK, prepared.lines, prepared.body)
        return True

    def _post(self) -> None:
        """Refuse the message, or start a task that stores it."""
        exchange = self._admit(is_write=True)
        if exchange is not None:
            # Stored as an attribute, because the event loop holds only weak references to tasks.
            self._posting = asyncio.create_task(self._store(exchange))

    def _admit(self, is_write: bool = False) -> Exchange | None:
        """Identify and admit the caller; if the request is refused, send the problem and return None."""
        exchange = Exchange(self._fast.dependencies, self._start_line.method, LIST, self._request.request_id)
        try:
            exchange.identify(self._request.authorization)
            exchange.admit(self._connection.context.remote_ip, is_write)
        except (BadRequest, MessageError) as error:
            self._send_problem(exchange, error)
            return None
        return exchange

    async def _store(self, exchange: Exchange) -> None:
        self._fast.in_flight.enter()
        exchange.start_phases()
        try:
            message, more = await post_message(self._fast.service, exchange, self._headers, self._body)
        except Exception as error:
            if not isinstance(error, (BadRequest, *STATUS)):
                logging.exception("Uncaught exception: POST %s", LIST)
            self._send_problem(exchange, error)
        else:
            body = wire.encode(wire.message(message))
            self._send(exchange, HTTPStatus.CREATED, _lines(more | _content_headers("application/json", body)), body)
        finally:
            self._fast.in_flight.leave()

    def _send_problem(self, exchange: Exchange, error: Exception) -> None:
        # Cached, because under overload the same refusal is sent many times and has to be cheap.
        parts = _over_limit(str(error), error.quota) if isinstance(error, OverLimit) else _parts(problem(error))
        self._send(exchange, *parts)

    def _send(self, exchange: Exchange, status: HTTPStatus, lines: str, body: bytes) -> None:
        lines += _lines(exchange.response_headers())
        head = f"{STATUS_LINES[status]}Date: {self._fast.date()}\r\n{lines}\r\n".encode("latin-1")
        response = head if self._start_line.method == "HEAD" else head + body
        exchange.finished(status)
        in_flight = self._fast.in_flight
        in_flight.enter()
        # Sent as bytes, because `write_headers` would search each header for line breaks, which ours cannot contain.
        self._connection.send(response, in_flight.leave)


def _limit(path: str) -> int | None:
    """The limit in the path of a list; None for any other path."""
    if path == LIST:
        return DEFAULT_LIMIT
    number = _number(path.removeprefix(LIST_WITH_LIMIT)) if path.startswith(LIST_WITH_LIMIT) else None
    return number if number is not None and 1 <= number <= MAX_LIMIT else None


@functools.lru_cache(MAX_PREPARED)
def _over_limit(detail: str, quota: Quota) -> tuple[HTTPStatus, str, bytes]:
    return _parts(problem(OverLimit(detail, quota)))


def _parts(error: Problem) -> tuple[HTTPStatus, str, bytes]:
    """Encode a problem as its status, header lines and body."""
    body = wire.encode(error.document())
    return error.status, _lines(error.headers | _content_headers("application/problem+json", body)), body


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def _content_headers(content_type: str, body: bytes) -> dict[str, str]:
    return {"Content-Type": content_type, "Content-Length": str(len(body))}


def _lines(headers: dict[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
