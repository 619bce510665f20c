"""What is where, and what each request takes and answers, as data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from tornado.routing import Rule
from tornado.web import Application

from server.api import handlers, queries, wire
from server.api.base import Handler, MuchTooLarge, NotFound, TooLarge
from server.api.exchange import Edge
from server.messages import NewMessage


@dataclass(frozen=True)
class Operation:
    """One method of a route, for the schema. `errors` are the statuses that its problems can have.

    `answer` and `body` are None where there is no JSON or form to describe.
    """

    method: str
    summary: str
    answer: type[BaseModel] | None
    status: int = 200
    query: type[BaseModel] = queries.NoQuery
    body: type[BaseModel] | None = None
    body_type: str = "application/json"
    answer_type: str = "text/plain"  # of an answer that no model describes
    headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Route:
    """A path, its handler, and what can be done there. `{id}` stands for the id of a message.

    `initialize` of the handler is given `collaborators`, beside what every handler is given.
    """

    path: str
    handler: type[Handler]
    operations: tuple[Operation, ...] = field(default=())
    collaborators: Mapping[str, Any] = field(default_factory=dict)


ROUTES = [
    Route(
        "/", handlers.Hello, (Operation("get", "A greeting; counted as a visit", wire.GreetingModel, errors=(400,)),)
    ),
    Route(
        "/messages",
        handlers.MessageList,
        (
            Operation(
                "get",
                "The newest messages, older ones, those since a time, or what came after a cursor",
                wire.PageModel,
                query=queries.ListQuery,
                headers=("Lab-Seen", "If-None-Match"),
                errors=(304, 400),
            ),
            Operation(
                "post",
                "Store a message",
                wire.MessageModel,
                status=201,
                body=NewMessage,
                headers=("Idempotency-Key",),
                errors=(400, 413, 415, 422),
            ),
        ),
    ),
    Route(
        "/messages/{id}",
        handlers.OneMessage,
        (Operation("get", "A message with its replies", wire.ThreadModel, headers=("Lab-Seen",), errors=(400, 404)),),
    ),
    Route(
        "/messages/{id}/replies",
        handlers.Replies,
        (
            Operation(
                "get",
                "The replies to a message, oldest first",
                wire.RepliesModel,
                query=queries.RepliesQuery,
                headers=("Lab-Seen",),
                errors=(400, 404),
            ),
        ),
    ),
    Route("/healthz", handlers.Alive, (Operation("get", "Whether the process runs", wire.StatusModel),)),
    Route("/readyz", handlers.Ready, (Operation("get", "Whether the database answers", wire.ReadyModel),)),
    Route("/metrics", handlers.MetricsText, (Operation("get", "Metrics, for Prometheus", None),)),
    Route("/openapi.json", handlers.OpenApi),
]


def application(edge: Edge, routes: Iterable[Route] = ROUTES) -> Application:
    """The routes as a Tornado application."""
    paths = [(route.path.replace("{id}", "([0-9a-fA-F]{24})"), route) for route in routes]
    return Application(
        [
            Rule(MuchTooLarge(), TooLarge, {"edge": edge, "route": "too large"}),
            *(
                (path, route.handler, {"edge": edge, "route": route.path, **route.collaborators})
                for path, route in paths
            ),
        ],
        default_handler_class=NotFound,
        default_handler_args={"edge": edge, "route": "unknown"},
    )
