"""What is where, as data."""

from tornado.routing import Rule
from tornado.web import Application

from server.api import handlers
from server.api.base import Edge, Handler, MuchTooLarge, NotFound, TooLarge

ROUTES: list[tuple[str, type[Handler]]] = [
    ("/", handlers.Hello),
    ("/messages", handlers.MessageList),
    ("/healthz", handlers.Alive),
    ("/readyz", handlers.Ready),
    ("/metrics", handlers.MetricsText),
]


def application(edge: Edge) -> Application:
    """The routes as a Tornado application."""
    return Application(
        [
            Rule(MuchTooLarge(), TooLarge, {"edge": edge, "route": "too large"}),
            *((path, handler, {"edge": edge, "route": path}) for path, handler in ROUTES),
        ],
        default_handler_class=NotFound,
        default_handler_args={"edge": edge, "route": "unknown"},
    )
