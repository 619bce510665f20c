"""One coroutine that puts the service together, runs it and takes it down again."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading

from tornado.httpserver import HTTPServer

from server.admission import Admission
from server.api import openapi
from server.api.access import Access
from server.api.base import MAX_BUFFERED, Edge
from server.api.routes import application
from server.messages import MessageService
from server.recent import reader
from server.settings import Settings
from server.store import Store
from server.telemetry import InFlight, Metrics, log_to_stderr
from server.timeline import Timeline

DRAIN_SECONDS = 8.0


async def main(settings: Settings, sockets: list[socket.socket], mongodb_uri: str) -> None:
    """Serve on `sockets` until asked to stop. Raises `StoreUnavailable` if there is no database."""
    log_to_stderr(access_log=settings.access_log == "on")
    in_flight = InFlight()
    metrics = Metrics(in_flight)
    store = Store(mongodb_uri, settings.database, settings.driver, metrics.connection_wait.observe)
    timeline = Timeline(store)
    await timeline.start()

    service = MessageService(store, timeline, reader(settings.cache, timeline))
    edge = Edge(
        service=service,
        admission=Admission(settings.write_limit),
        metrics=metrics,
        in_flight=in_flight,
        access=Access(dict(settings.api_keys)),
        openapi=openapi.document(with_keys=bool(settings.api_keys)),
    )
    server = HTTPServer(
        application(edge),
        max_body_size=MAX_BUFFERED,
        max_header_size=16 * 1024,
        body_timeout=10.0,
        idle_connection_timeout=75.0,
    )
    server.add_sockets(sockets)
    stop = _asked_to_stop(until_stdin_closes=settings.until_stdin_closes == "on")
    lag = asyncio.create_task(metrics.watch_event_loop())
    address, port = sockets[0].getsockname()[:2]
    print(f"listening on http://{f'[{address}]' if ':' in address else address}:{port}", flush=True)

    await stop.wait()

    server.stop()
    try:
        await asyncio.wait_for(in_flight.none_left(), DRAIN_SECONDS)
    except TimeoutError:
        logging.warning("%d requests were not finished within %s s and are dropped", in_flight.count, DRAIN_SECONDS)
    await server.close_all_connections()
    lag.cancel()
    await store.close()


def _asked_to_stop(until_stdin_closes: bool) -> asyncio.Event:
    """Set by Ctrl-C, by SIGTERM and, if wanted, when standard input ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def wait_for_end() -> None:
        while sys.stdin is not None and os.read(sys.stdin.fileno(), 4096):
            pass
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stop.set)

    if until_stdin_closes:
        # A thread, because an event loop cannot wait for every kind of input: not for a file, for one.
        threading.Thread(target=wait_for_end, daemon=True).start()
    return stop
