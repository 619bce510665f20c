"""The base class of all handlers: access, limits, JSON responses, and errors as problem+json."""

import functools
from asyncio import Future
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel
from tornado.web import HTTPError, RequestHandler

from server.api import parsing, wire
from server.api.exchange import Dependencies, Exchange
from server.api.problems import STATUS, BadRequest, problem
from server.http1.answer import Answer
from server.messages import Page

Model = TypeVar("Model", bound=BaseModel)
METHODS = ("GET", "POST")


class AnyMethod(tuple[str, ...]):
    """Contains every method, so that Tornado calls `prepare`, where an unknown path is 404 whatever the method."""

    def __contains__(self, method: object) -> bool:
        return True


class Handler(RequestHandler):
    """The base class of all handlers."""

    public = False  # whether requests need no access key and are not rate limited
    media_type = "application/json"  # the expected media type of the body
    SUPPORTED_METHODS = AnyMethod()

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        """Called by Tornado for each request with the arguments of its route; `collaborators` are for subclasses."""
        self.service = dependencies.service
        self._in_flight = dependencies.in_flight
        request_id = self.request.headers.get("X-Request-ID")
        assert isinstance(self.request.connection, Answer)
        read_at = self.request.connection.request.read_at
        self.exchange = Exchange(dependencies, self.request.method or "", route, request_id, read_at)
        self._in_flight.enter()

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    async def prepare(self) -> None:
        self.exchange.start_phases()
        if not self.public:
            self.exchange.identify(self.request.headers.get("Authorization"))
        if self.request.method not in self.methods():
            raise BadRequest(
                f"{self.request.method} is not allowed here: use {' or '.join(self.methods())}",
                status=HTTPStatus.METHOD_NOT_ALLOWED,
            )
        if not self.public:
            self.exchange.admit(self.request.remote_ip or "", is_write=self.request.method == "POST")

    @classmethod
    @functools.cache
    def methods(cls) -> list[str]:
        """The HTTP methods that this handler supports."""
        own = [method for method in METHODS if method.lower() in _defined(cls)]
        return [*own, "HEAD"] if "GET" in own else own

    async def head(self, *args: str) -> None:
        await self.get(*args)  # type: ignore[misc]  # Tornado omits the body

    def query(self, model: type[Model]) -> Model:
        """The validated query parameters. Raises `BadRequest` and `Invalid`."""
        return parsing.query(self.request.query_arguments, model)

    def seen(self) -> int:
        """The caller's `Lab-Seen`: the highest sequence number that it knows, or 0. Raises `BadRequest`."""
        return parsing.seen(self.request.headers.get("Lab-Seen"))

    def send_versioned(self, page: Page) -> None:
        """Send a list with its ETag, or 304 if the request's `If-None-Match` has that ETag."""
        etag = wire.etag(page)
        self.set_header("ETag", etag)
        if parsing.is_known(etag, self.request.headers.get("If-None-Match")):
            self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish()
        else:
            self.send(wire.page(page))

    def send(self, document: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send `document` as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(wire.encode(document))

    def send_problem(self, error: BaseException | None, status: int = 500) -> None:
        """Send an error as problem+json; `status` is used if `error` has none of its own."""
        described = problem(error, status)
        self.set_status(described.status)
        self.set_header("Content-Type", "application/problem+json")
        for name, value in described.headers.items():
            self.set_header(name, value)
        if described.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.methods()))
        self.finish(wire.encode(described.document()))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, HTTPError) and (error.log_message or "").startswith("Invalid body"):
            # Tornado parses form bodies before it calls a handler, and raises this error if that fails.
            error = parsing.wrong_type(self.request.headers.get("Content-Type", ""), self.media_type)
        self.send_problem(error, status_code)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        # Errors of callers and an unavailable database are expected: no traceback.
        if not isinstance(value, (BadRequest, *STATUS)):
            super().log_exception(typ, value, tb)

    def _request_summary(self) -> str:
        # Tornado would log the query, which may hold what must not be logged.
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

    def compute_etag(self) -> str | None:
        return None  # Tornado's default hashes the body of every response

    def finish(self, chunk: Any = None) -> Any:
        for line in self.exchange.header_lines().splitlines():
            name, _, value = line.partition(": ")
            self.set_header(name, value)
        sent = super().finish(chunk)
        sent.add_done_callback(self._left)
        return sent

    def _left(self, sent: "Future[None]") -> None:
        """Called when the response has been sent completely, or the connection was closed."""
        sent.exception()
        self._in_flight.leave()

    def on_finish(self) -> None:
        self.exchange.finished(self.get_status())


class NotFound(Handler):
    """Answers 404 for paths without a route."""

    async def prepare(self) -> None:
        raise BadRequest(
            f"there is nothing at {self.request.path}: GET / lists the paths of this service",
            status=HTTPStatus.NOT_FOUND,
        )


def _defined(handler: type[Handler]) -> set[str]:
    return {
        name for each in handler.__mro__ if issubclass(each, Handler) and each is not Handler for name in vars(each)
    }
