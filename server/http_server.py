"""The HTTP server of one process: Tornado's own, or ours, which reads plain requests at a lower cost."""

import socket
from collections.abc import Iterable
from typing import Any, Protocol

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application

from server import connections
from server.api.base import MAX_BUFFERED
from server.api.exchange import Dependencies
from server.api.fast import FastPath

# What Tornado's server accepts, and how long it waits: its defaults are 100 MiB, an hour, and no limit.
LIMITS: dict[str, Any] = {
    "max_body_size": MAX_BUFFERED,
    "max_header_size": 16 * 1024,
    "body_timeout": connections.RECEIVE_SECONDS,
    "idle_connection_timeout": connections.IDLE_SECONDS,
}


class Server(Protocol):
    """What `server.app` does with an HTTP server."""

    unsent_seconds: float

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on `sockets`."""

    async def run(self) -> None:
        """Do the server's own periodic work for as long as it runs; return at once if there is none."""

    def stop(self) -> None:
        """Accept no more connections."""

    async def close_all_connections(self) -> None:
        """Close the connections that are open."""


class TornadoServer(HTTPServer):
    """Tornado's server with the interface of `Server`. It sends answers at once."""

    unsent_seconds = 0.0

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on `sockets`."""
        self.add_sockets(sockets)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection, on a stream that knows when it has read a request."""
        sizes = {"max_buffer_size": stream.max_buffer_size, "read_chunk_size": stream.read_chunk_size}
        super().handle_stream(connections.TimedStream(stream.socket, **sizes), address)

    async def run(self) -> None:
        """Return at once: Tornado has a timer for each connection."""


def server_for(fast_path: str, dependencies: Dependencies, application: Application) -> Server:
    """The server that a value of `--fast-path` names. `application` answers what the fast path does not."""
    if fast_path == "on":
        return connections.Server(FastPath(dependencies, application), application, **LIMITS)
    return TornadoServer(application, **LIMITS)
