"""Worker processes on one port: started, watched, replaced and stopped by this process.

All accept from the same listening socket, so when a worker dies, another accepts the connections that were waiting
for it. They share nothing else but the database: each worker has its own cache, limits and metrics.
"""

import asyncio
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import SpawnProcess

import uvloop

from server.app import DRAIN_SECONDS, asked_to_stop, main
from server.http1 import kernel
from server.http1.server import CLOSE_SECONDS
from server.messages import StoreUnavailable
from server.settings import DatabaseAddress, Settings
from server.telemetry import log_to_stderr

# The minimum time between two attempts to replace a worker that dies as soon as it starts.
PAUSE_SECONDS = 1.0

SPAWN = multiprocessing.get_context("spawn")


def serve(
    settings: Settings, database: DatabaseAddress, sockets: list[socket.socket], listening: Callable[[], None]
) -> None:
    """Serve with `settings.workers` processes until asked to stop. Raises `StoreUnavailable`."""
    if settings.workers == 1:
        _serve_alone(settings, database, sockets, listening)
    else:
        asyncio.run(_Workers(settings, database, sockets).serve(listening))


def _serve_alone(
    settings: Settings, database: DatabaseAddress, sockets: list[socket.socket], listening: Callable[[], None]
) -> None:
    if settings.allow_profiling == "on":
        _allow_profiling()
    loop = uvloop.new_event_loop if settings.event_loop == "uvloop" else None
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main(settings, database, sockets, listening))


class _Workers:
    def __init__(self, settings: Settings, database: DatabaseAddress, sockets: list[socket.socket]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._database = database
        self._running: set[SpawnProcess] = set()

    async def serve(self, listening: Callable[[], None]) -> None:
        log_to_stderr(access_log=False)
        stop = asked_to_stop(self._settings.until_stdin_closes == "on")
        try:
            workers = await asyncio.gather(*(self._start() for _ in range(self._settings.workers)))
            listening()
            keeping = [asyncio.create_task(self._keep(each)) for each in workers]
            await stop.wait()
            for each in keeping:
                each.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
        finally:
            # Whoever connects when the last worker has stopped to accept would wait as long as this one listens.
            for listening_socket in self._sockets:
                kernel.stop_connecting(listening_socket)
                listening_socket.close()
            await self._stop()

    async def _start(self) -> SpawnProcess:
        """Start a worker and return it when it serves. Raises `StoreUnavailable`."""
        settings = replace(self._settings, until_stdin_closes="off")
        ours, theirs = SPAWN.Pipe(duplex=False)
        worker = SPAWN.Process(target=_work, args=(settings, self._database, self._sockets, theirs))
        worker.start()
        self._running.add(worker)
        theirs.close()
        try:
            why_not = await asyncio.to_thread(ours.recv)
        except EOFError:
            why_not = StoreUnavailable("a worker ended while it started")
        finally:
            ours.close()
        if why_not is not None:
            raise why_not
        return worker

    async def _keep(self, worker: SpawnProcess) -> None:
        """Replace `worker` whenever it ends, for ever."""
        while True:
            await _ended(worker)
            self._running.discard(worker)
            logging.error("worker %d ended with exit code %s and is replaced", worker.pid, worker.exitcode)
            while True:
                began = time.monotonic()
                try:
                    worker = await self._start()
                    break
                except StoreUnavailable as error:
                    logging.error("no worker could be started: %s", error)
                    await asyncio.sleep(max(0.0, began + PAUSE_SECONDS - time.monotonic()))

    async def _stop(self) -> None:
        for worker in self._running:
            worker.terminate()
        waiting = asyncio.gather(*(_ended(each) for each in self._running))
        try:
            await asyncio.wait_for(waiting, DRAIN_SECONDS + CLOSE_SECONDS + 0.5)
        except TimeoutError:
            for worker in self._running:
                worker.kill()


def _work(
    settings: Settings,
    database: DatabaseAddress,
    sockets: list[socket.socket],
    parent: "multiprocessing.connection.Connection[StoreUnavailable | None, None]",
) -> None:
    """Run one worker; send `parent` None when it serves, or the reason why it cannot."""
    _stop_with_parent()
    try:
        _serve_alone(settings, database, sockets, lambda: parent.send(None))
    except StoreUnavailable as error:
        parent.send(error)
        sys.exit(1)


def _stop_with_parent() -> None:
    """Send this process SIGTERM when its parent ends, for whatever reason."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


async def _ended(worker: SpawnProcess) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(worker.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(worker.sentinel)
    worker.join()


def _allow_profiling() -> None:
    """Allow any process of this user to trace this one, on Linux with ptrace_scope 1 (prctl PR_SET_PTRACER)."""
    if sys.platform == "linux":
        import ctypes

        set_ptracer, any_process = 0x59616D61, ctypes.c_ulong(-1)
        ctypes.CDLL(None).prctl(set_ptracer, any_process, 0, 0, 0)
