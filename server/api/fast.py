"""The fast path: answers reads of cached recent messages, and posts, without a `RequestHandler`.

For a cached list most of the cost is Tornado's: it creates a request object and a handler, matches routes, and builds
the response's headers one by one. These two requests need little of that. A request that is unusual in any way is
passed on, and answered as if there were no fast path.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from server.api import parsing, wire
from server.api.exchange import Dependencies, Exchange
from server.api.handlers import post_message
from server.api.problems import STATUS, BadRequest
from server.api.sending import Content, Sender
from server.http1.answer import Answer
from server.http1.reading import Request
from server.messages import DEFAULT_LIMIT, MAX_LIMIT, MessageError, Page

LIST = "/messages"
# How many messages each target asks for. One that is written otherwise is the application's.
LIMITS = {LIST.encode(): DEFAULT_LIMIT} | {f"{LIST}?limit={n}".encode(): n for n in range(1, MAX_LIMIT + 1)}
READS = {b"GET", b"HEAD"}
MAX_PREPARED = 8  # encoded pages to cache, by limit; few limits are common, and the bound limits memory
JSON = "application/json"


class Prepared(NamedTuple):
    """An encoded page, and the answer to whoever knows it already."""

    page: Page
    etag: str
    encoded: Content
    known: Content


def _prepared(page: Page) -> Prepared:
    etag = wire.etag(page)
    headers = {"ETag": etag}
    encoded = Content.of(HTTPStatus.OK, headers, JSON, wire.encode(wire.page(page)))
    return Prepared(page, etag, encoded, Content.of(HTTPStatus.NOT_MODIFIED, headers))


class FastPath:
    """Answers the most frequent requests itself, and has others answered by `ordinary`."""

    def __init__(self, dependencies: Dependencies, sender: Sender, ordinary: Callable[[Request, Answer], None]) -> None:
        self._dependencies = dependencies
        self._service = dependencies.service
        self._sender = sender
        self._ordinary = ordinary
        self._prepared: dict[int, Prepared] = {}  # by limit
        self._posting: set[asyncio.Task[None]] = set()  # the event loop holds only weak references to tasks

    def respond(self, request: Request, answer: Answer) -> None:
        """Answer a request, or have it answered."""
        if not (self._post(request, answer) if request.method == b"POST" else self._get(request, answer)):
            self._ordinary(request, answer)

    def _get(self, request: Request, answer: Answer) -> bool:
        """Send the cached list; return False if another request was meant, or the list is not cached."""
        headers, limit = request.headers, LIMITS.get(request.target)
        seen = _number(headers[b"lab-seen"]) if b"lab-seen" in headers else 0
        if limit is None or seen is None or request.method not in READS:
            return False
        page = self._service.recent_cached(limit, seen)
        if page is None:
            return False
        exchange = self._admit(request, answer)
        if exchange is not None:
            prepared = self._prepared.get(limit)
            if prepared is None or prepared.page is not page:
                prepared = self._prepare(page, limit)
            known = headers.get(b"if-none-match")
            is_known = known is not None and parsing.is_known(prepared.etag, known.decode("latin-1"))
            self._sender.send(answer, exchange, prepared.known if is_known else prepared.encoded)
        return True

    def _post(self, request: Request, answer: Answer) -> bool:
        """Refuse the message, or start a task that stores it; return False if another request was meant."""
        if request.target != LIST.encode():
            return False
        exchange = self._admit(request, answer)
        if exchange is not None:
            self._dependencies.in_flight.enter()  # at once: a server that stops must not miss it
            posting = asyncio.create_task(self._store(request, answer, exchange))
            self._posting.add(posting)
            posting.add_done_callback(self._posting.discard)
        return True

    def _admit(self, request: Request, answer: Answer) -> Exchange | None:
        """Identify and admit the caller; if the request is refused, send the problem and return None."""
        exchange = Exchange(
            self._dependencies, request.method.decode("ascii"), LIST, request.header(b"x-request-id"), request.read_at
        )
        try:
            if not self._dependencies.access.is_open:
                exchange.identify(request.header(b"authorization"))
            exchange.admit(answer.address, is_write=request.method == b"POST")
        except (BadRequest, MessageError) as error:
            self._sender.send_problem(answer, exchange, error)
            return None
        return exchange

    async def _store(self, request: Request, answer: Answer, exchange: Exchange) -> None:
        exchange.start_phases()
        try:
            content_type, key = request.header(b"content-type") or "", request.header(b"idempotency-key")
            message, headers = await post_message(self._service, exchange, content_type, key, request.body)
        except Exception as error:
            if not isinstance(error, (BadRequest, *STATUS)):
                logging.exception("Uncaught exception: POST %s", LIST)
            self._sender.send_problem(answer, exchange, error)
        else:
            created = Content.of(HTTPStatus.CREATED, headers, JSON, wire.encode(wire.message(message)))
            self._sender.send(answer, exchange, created)
        finally:
            self._dependencies.in_flight.leave()

    def _prepare(self, page: Page, limit: int) -> Prepared:
        """Encode a page, and keep that for as long as the page is the same object."""
        if len(self._prepared) >= MAX_PREPARED:
            self._prepared.clear()
        prepared = self._prepared[limit] = _prepared(page)
        return prepared


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= 15 else None
