"""What every handler does: access, limits, errors as JSON."""

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
from server.api.exchange import Edge, Exchange
from server.api.problems import STATUS, BadRequest, problem
from server.messages import Page
from server.telemetry import start_phases

MAX_BODY = 64 * 1024
# A body a little too large is read and refused, and the connection lives on; beyond this it is not read.
MAX_READ = 1024 * 1024
# Chunks that declare no length are collected up to here before they are refused.
MAX_BUFFERED = 16 * MAX_READ
Model = TypeVar("Model", bound=BaseModel)
METHODS = ("GET", "POST")


class AnyMethod(tuple[str, ...]):
    """Keeps Tornado from refusing a method before `prepare` does it: an unknown path is 404 for all of them."""

    def __contains__(self, method: object) -> bool:
        return True


class Handler(RequestHandler):
    """The base of all handlers."""

    public = False  # answered without an access key, and without limit
    takes = "application/json"  # the type of the body
    SUPPORTED_METHODS = AnyMethod()

    def initialize(self, edge: Edge, route: str, **collaborators: Any) -> None:
        """Called for each request, with what the route says. Some handlers take `collaborators` of their own."""
        self.service = edge.service
        request_id = self.request.headers.get("X-Request-ID")
        self.exchange = Exchange(edge, self.request.method or "", route, request_id)
        edge.in_flight.enter()

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
        """The number of the newest message that the caller knows of. Raises `BadRequest`."""
        return parsing.seen(self.request.headers.get("Lab-Seen"))

    def send_versioned(self, page: Page) -> None:
        """Answer with a list, or with 304 if the caller has it already."""
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
            # Tornado reads forms before a handler is asked, and stumbles over those that are none.
            error = parsing.wrong_type(self.request.headers.get("Content-Type", ""), self.takes)
        self.send_problem(error, status_code)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        # What the caller did wrong, and a database that is away, are no bugs: no traceback.
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
        """The whole answer is sent, or the caller has gone."""
        sent.exception()
        self.exchange.edge.in_flight.leave()

    def on_finish(self) -> None:
        self.exchange.answered(self.get_status())


class NotFound(Handler):
    """Every path that is no route."""

    async def prepare(self) -> None:
        raise BadRequest(
            f"there is nothing at {self.request.path}: see GET / for what is here", status=HTTPStatus.NOT_FOUND
        )


class MuchTooLarge(Matcher):
    """Matches requests whose body is not worth reading to its end."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        length = request.headers.get("Content-Length", "")
        return {} if length.isdigit() and int(length) > MAX_READ else None


@stream_request_body
class TooLarge(Handler):
    """Answers them when their headers have arrived. Tornado then closes the connection."""

    async def prepare(self) -> None:
        # Above the limit Tornado would add an answer of its own, which is no JSON.
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
