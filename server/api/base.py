"""The base class of all handlers: access, limits, body size, JSON answers, and errors as problem+json."""

import functools
import sys
from asyncio import Future
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import HTTPError, RequestHandler, stream_request_body

from server.api import parsing, wire
from server.api.exchange import Dependencies, Exchange
from server.api.problems import STATUS, BadRequest, problem
from server.messages import Page
from server.telemetry import start_phases

MAX_BODY = 64 * 1024
# A body a little too large is read and refused, and the connection stays open; a larger one is not read.
MAX_READ = 1024 * 1024
# A chunked body, which declares no length, is buffered up to this size before it is refused.
MAX_BUFFERED = 16 * MAX_READ
Model = TypeVar("Model", bound=BaseModel)
METHODS = ("GET", "POST")


class AnyMethod(tuple[str, ...]):
    """Contains every method, so that Tornado leaves the check to `prepare`: an unknown path is 404 for all methods."""

    def __contains__(self, method: object) -> bool:
        return True


class Handler(RequestHandler):
    """The base class of all handlers."""

    public = False  # whether it needs no access key, and has no rate limit
    takes = "application/json"  # the media type of the body
    SUPPORTED_METHODS = AnyMethod()

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        """Called by Tornado for each request, with the arguments of its route. Subclasses take `collaborators`."""
        self.service = dependencies.service
        self._in_flight = dependencies.in_flight
        request_id = self.request.headers.get("X-Request-ID")
        self.exchange = Exchange(dependencies, self.request.method or "", route, request_id)
        self._in_flight.enter()

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    async def prepare(self) -> None:
        self.exchange.phases = start_phases()
        if not self.public:
            self.exchange.identify(self.request.headers.get("Authorization"))
        if self.request.method not in self.methods():
            raise BadRequest(
                f"{self.request.method} is not possible here: use {' or '.join(self.methods())}",
                status=HTTPStatus.METHOD_NOT_ALLOWED,
            )
        if not self.public:
            self.exchange.admit(self.request.remote_ip or "", is_write=self.request.method == "POST")
        if len(self.request.body) > MAX_BODY:
            raise _too_large()

    @classmethod
    @functools.cache
    def methods(cls) -> list[str]:
        """The methods this handler answers."""
        own = [method for method in METHODS if method.lower() in _defined(cls)]
        return [*own, "HEAD"] if "GET" in own else own

    async def head(self, *args: str) -> None:
        await self.get(*args)  # type: ignore[misc]  # Tornado leaves the body out

    def query(self, model: type[Model]) -> Model:
        """The query parameters. Raises `BadRequest`."""
        return parsing.query(self.request.query_arguments, model)

    def seen(self) -> int:
        """The caller's `Lab-Seen`: the highest sequence number it has met, or 0. Raises `BadRequest`."""
        return parsing.seen(self.request.headers.get("Lab-Seen"))

    def send_versioned(self, page: Page) -> None:
        """Answer with a list and its ETag, or with 304 if the caller's `If-None-Match` has that ETag."""
        etag = wire.etag(page)
        self.set_header("ETag", etag)
        if parsing.is_known(etag, self.request.headers.get("If-None-Match")):
            self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish()
        else:
            self.send(wire.page(page))

    def send(self, document: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with `document` as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(wire.encode(document))

    def send_problem(self, error: BaseException | None, status: int = 500) -> None:
        """Answer with an error as problem+json."""
        said = problem(error, status)
        self.set_status(said.status)
        self.set_header("Content-Type", "application/problem+json")
        for name, value in said.headers.items():
            self.set_header(name, value)
        if said.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.methods()))
        self.finish(wire.encode(said.document()))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, HTTPError) and (error.log_message or "").startswith("Invalid body"):
            # Tornado parses forms before it calls a handler, and fails on bodies that are none.
            error = parsing.wrong_type(self.request.headers.get("Content-Type", ""), self.takes)
        self.send_problem(error, status_code)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        # A caller's mistake, or a database that does not answer, is no bug: no traceback.
        if not isinstance(value, (BadRequest, *STATUS)):
            super().log_exception(typ, value, tb)

    def compute_etag(self) -> str | None:
        return None  # Tornado would hash every answer

    def finish(self, chunk: Any = None) -> Any:
        for name, value in self.exchange.answer_headers().items():
            self.set_header(name, value)
        sent = super().finish(chunk)
        sent.add_done_callback(self._left)
        return sent

    def _left(self, sent: "Future[None]") -> None:
        """Called when the whole answer is sent, or the caller has gone."""
        sent.exception()
        self._in_flight.leave()

    def on_finish(self) -> None:
        self.exchange.answered(self.get_status())


class NotFound(Handler):
    """Every path that is no route."""

    async def prepare(self) -> None:
        raise BadRequest(
            f"there is nothing at {self.request.path}: see GET / for what is here", status=HTTPStatus.NOT_FOUND
        )


class MuchTooLarge(Matcher):
    """Matches requests whose declared body is too large to be read at all."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        length = request.headers.get("Content-Length", "")
        return {} if length.isdigit() and int(length) > MAX_READ else None


@stream_request_body
class TooLarge(Handler):
    """Answers 413 as soon as the headers have arrived; Tornado then closes the connection."""

    async def prepare(self) -> None:
        # Above its limit Tornado would answer by itself, without JSON.
        self.request.connection.set_max_body_size(sys.maxsize)  # type: ignore[union-attr]
        raise _too_large()

    def data_received(self, chunk: bytes) -> None:
        pass


def _defined(handler: type[Handler]) -> set[str]:
    return {
        name for each in handler.__mro__ if issubclass(each, Handler) and each is not Handler for name in vars(each)
    }


def _too_large() -> BadRequest:
    return BadRequest(
        f"the body is larger than {MAX_BODY} bytes: send less", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    )
