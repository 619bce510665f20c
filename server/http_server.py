"""The HTTP server of one process: who answers which request, and how others are refused."""

import functools
from collections.abc import Iterable

from tornado.httputil import HTTPServerConnectionDelegate

from server.api.exchange import Dependencies
from server.api.fast import FastPath
from server.api.refusals import doorkeeper, refuser
from server.api.route import Route
from server.api.sending import Sender
from server.http1.application import pass_on
from server.http1.proxies import TrustedProxies
from server.http1.server import Server


def server_for(
    fast_path: str,
    trusted_proxies: TrustedProxies,
    dependencies: Dependencies,
    routes: Iterable[Route],
    application: HTTPServerConnectionDelegate,
) -> Server:
    """The server that a value of `--fast-path` names. `application` answers what the fast path does not."""
    sender = Sender(dependencies.in_flight)
    ordinary = functools.partial(pass_on, application)
    respond = FastPath(dependencies, sender, ordinary).respond if fast_path == "on" else ordinary
    public = {route.path for route in routes if route.handler.public}
    return Server(
        respond,
        refuser(dependencies, sender),
        doorkeeper(dependencies.access, public),
        trusted_proxies.caller if trusted_proxies.networks else None,
    )
