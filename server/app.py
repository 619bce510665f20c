"""One coroutine that puts the service together, runs it and takes it down again."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tornado.httpserver import HTTPServer

from server import connections, tasks
from server.admission import Admission
from server.api import openapi
from server.api.access import Access
from server.api.base import MAX_BUFFERED
from server.api.exchange import Edge
from server.api.fast import FastPath
from server.api.routes import ROUTES, application
from server.integrations.background import Background
from server.integrations.routes import integrations
from server.messages import MessageService
from server.recent import TailCache, reader
from server.settings import DatabaseAddress, Settings
from server.store import Store
from server.telemetry import InFlight, Metrics, log_to_stderr
from server.timeline import Timeline
from server.versions import log_pending
from server.writer import writer

DRAIN_SECONDS = 8.0
WARM_UP_SECONDS = 2.0
# What Tornado's server waits for and takes.
LIMITS: dict[str, Any] = {
    "max_body_size": MAX_BUFFERED,
    "max_header_size": 16 * 1024,
    "body_timeout": connections.RECEIVE_SECONDS,
    "idle_connection_timeout": connections.IDLE_SECONDS,
}


async def main(
    settings: Settings, database: DatabaseAddress, sockets: list[socket.socket], listening: Callable[[], None]
) -> None:
    """Serve on `sockets` until asked to stop; `listening` is called when the first request can come.

    Raises `StoreUnavailable` if there is no database.
    """
    log_to_stderr(access_log=settings.access_log == "on")
    in_flight = InFlight()
    metrics = Metrics(in_flight, lambda: service.waiting)
    show_numbers = settings.show_numbers == "on"
    store = Store(database.uri, database.name, settings.driver, show_numbers, metrics.connection_wait.observe)
    timeline = Timeline(store)
    await timeline.start()
    log_pending(await store.data_version())

    newest = reader(settings.cache, store, timeline)
    service = MessageService(store, timeline, newest, writer(settings.writes, store))
    admission = Admission(
        settings.write_limit, settings.client_limit, settings.max_waiting, lambda: service.waiting, settings.workers
    )
    background = Background(in_flight)
    routes = [*ROUTES, *integrations(settings, background)]
    edge = Edge(
        service=service,
        admission=admission,
        metrics=metrics,
        in_flight=in_flight,
        access=Access(dict(settings.api_keys)),
        openapi=openapi.document(bool(settings.api_keys), routes),
    )
    work: list[Coroutine[Any, Any, None]] = [metrics.watch_event_loop()]
    if isinstance(newest, TailCache):
        work.append(newest.follow())
    ordinary = application(edge, routes)
    server: HTTPServer
    if settings.fast_path == "on":
        server = connections.Server(FastPath(edge, ordinary), ordinary, **LIMITS)
        work.append(server.reap())
    else:
        server = HTTPServer(ordinary, **LIMITS)
    running = [asyncio.create_task(each) for each in work]
    if isinstance(newest, TailCache):
        with contextlib.suppress(TimeoutError):  # without it the first readers would all go to the database
            await asyncio.wait_for(newest.filled.wait(), WARM_UP_SECONDS)
    if isinstance(server, connections.Server):
        await server.listen_on(sockets)
    else:
        server.add_sockets(sockets)
    stop = asked_to_stop(until_stdin_closes=settings.until_stdin_closes == "on")
    # What there is now stays: modules, above all. To look through all of it for garbage stops everybody for 40 ms.
    gc.collect()
    gc.freeze()
    listening()

    await stop.wait()

    server.stop()
    background.stop()
    try:
        await asyncio.wait_for(in_flight.none_left(), DRAIN_SECONDS)
    except TimeoutError:
        logging.warning("%d requests were not finished within %s s and are dropped", in_flight.count, DRAIN_SECONDS)
    await server.close_all_connections()
    await tasks.end(*running)
    await store.close()


def asked_to_stop(until_stdin_closes: bool = False) -> asyncio.Event:
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
