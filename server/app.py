"""One coroutine that puts the service together, runs it and takes it down again."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from server import tasks
from server.admission import Admission
from server.api.access import Access
from server.api.exchange import Dependencies
from server.api.routes import all_routes, application
from server.http1 import kernel
from server.http1.proxies import TrustedProxies
from server.http1.server import Server
from server.http_server import server_for
from server.integrations.background import Background
from server.integrations.routes import integrations
from server.messages import MessageService
from server.mongodb import DRIVER_LOGGER, OneLine
from server.recent import reader_for
from server.settings import DatabaseAddress, Settings
from server.store import Store
from server.telemetry import InFlight, Metrics, log_to_stderr
from server.timeline import Timeline
from server.versions import log_pending
from server.writer import writer_for

# A process that is told to stop is to end within 10 s, whatever its callers and its database do: after this time it
# closes its connections, which takes a second, and the store, which takes another.
DRAIN_SECONDS = 7.5


async def main(
    settings: Settings, database: DatabaseAddress, sockets: list[socket.socket], listening: Callable[[], None]
) -> None:
    """Serve on `sockets` until asked to stop; call `listening` when the first request can come.

    Raises `StoreUnavailable` if the database does not answer.
    """
    log_to_stderr(access_log=settings.access_log == "on")
    logging.getLogger(DRIVER_LOGGER).addFilter(OneLine())
    in_flight = InFlight()
    metrics = Metrics(in_flight)

    show_numbers = settings.show_numbers == "on"
    waited, used = metrics.connection_wait.observe, metrics.connection_use.observe
    store = Store(database.uri, database.name, settings.driver, show_numbers, waited, used)
    timeline = Timeline(store)
    await timeline.start()
    log_pending(await store.data_version())

    reader = reader_for(settings.cache, store, timeline)
    service = MessageService(store, timeline, reader, writer_for(settings.writes, store, store.seconds))
    metrics.waiting.set_function(lambda: service.waiting)

    admission = Admission(
        settings.write_limit, settings.client_limit, settings.max_waiting, lambda: service.waiting, settings.workers
    )
    dependencies = Dependencies(service, admission, Access(dict(settings.api_keys)), metrics, in_flight)
    background = Background(in_flight)
    routes = all_routes(metrics, integrations(settings, admission, background), with_keys=bool(settings.api_keys))
    proxies = TrustedProxies(settings.trusted_proxies)
    server = server_for(settings.fast_path, proxies, dependencies, routes, application(dependencies, routes))
    metrics.passed_over.set_function(lambda: len(store.passed_over))
    metrics.unsent.set_function(lambda: server.unsent_seconds)

    running = [asyncio.create_task(each) for each in (metrics.watch_event_loop(), reader.run(), server.run())]
    await reader.warm_up()
    stop = asked_to_stop(until_stdin_closes=settings.until_stdin_closes == "on")  # before anybody can be cut off
    await server.listen_on(sockets)
    # What exists now, modules above all, lives as long as the process. A collection that traverses it takes 40 ms.
    gc.collect()
    gc.freeze()
    listening()

    await stop.wait()

    if settings.workers == 1:  # a worker may be stopped alone; the others listen on the same sockets
        for each in sockets:
            kernel.stop_connecting(each)
    background.stop()
    await _drain(server, in_flight)
    await tasks.end(*running)
    await store.close()


async def _drain(server: Server, in_flight: InFlight) -> None:
    """Accept no more connections, answer what is admitted, and end the connections.

    As long as something is going on, whoever sends one more request on an open connection is admitted too.
    """
    server.stop()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await in_flight.none_left()
            await server.drained()
            await in_flight.none_left()  # of these requests, those whose callers did not wait for an answer
    except TimeoutError:
        logging.warning("%d requests were not finished within %s s and are dropped", in_flight.count, DRAIN_SECONDS)
    await server.close()


def asked_to_stop(until_stdin_closes: bool = False) -> asyncio.Event:
    """An event that is set by Ctrl-C, by SIGTERM and, with `until_stdin_closes`, when standard input ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        _call_at_end_of_stdin(loop, stop.set)
    return stop


def _call_at_end_of_stdin(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if sys.stdin is None:
        return
    stdin = sys.stdin.fileno()

    def read_on() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            callback()

    try:
        loop.add_reader(stdin, read_on)
    except OSError:  # a file or /dev/null, which the event loop cannot wait for: it has ended already
        callback()
