"""The table of routes, and the Tornado application that dispatches to them."""

from collections.abc import Iterable

from tornado.web import Application

from server.api import docs, handlers, openapi, queries, wire
from server.api.base import NotFound
from server.api.exchange import Dependencies
from server.api.route import Operation, Route
from server.messages import NewMessage
from server.telemetry import Metrics

ROUTES = (
    Route(
        "/", handlers.Hello, (Operation("get", "A greeting; counted as a visit", wire.GreetingModel, errors=(400,)),)
    ),
    Route(
        "/messages",
        handlers.MessageList,
        (
            Operation(
                "get",
                "List messages: the newest, older ones, those since a time, or those after a cursor",
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
                example={"text": "lunch?", "author": "mia"},
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
)


def all_routes(metrics: Metrics, integrations: Iterable[Route] = (), *, with_keys: bool = False) -> list[Route]:
    """All routes of the service. `with_keys` if requests need an access key.

    The OpenAPI description is about the routes before it, and not about itself and the page that shows it.
    """
    metrics_text = Route(
        "/metrics",
        handlers.MetricsText,
        (Operation("get", "Metrics, for Prometheus", None),),
        {"metrics": metrics},
    )
    routes = [*ROUTES, metrics_text, *integrations]
    description = openapi.document(routes, with_keys=with_keys)
    return [
        *routes,
        Route("/openapi.json", handlers.OpenApi, collaborators={"description": description}),
        *docs.routes(),
    ]


def application(dependencies: Dependencies, routes: Iterable[Route]) -> Application:
    """The Tornado application that dispatches to `routes`."""

    def arguments(route: str) -> dict[str, object]:
        return {"dependencies": dependencies, "route": route}

    return Application(
        [
            (
                route.path.replace("{id}", "([0-9a-fA-F]{24})"),
                route.handler,
                {**arguments(route.path), **route.collaborators},
            )
            for route in routes
        ],
        default_handler_class=NotFound,
        default_handler_args=arguments("unknown"),
    )
