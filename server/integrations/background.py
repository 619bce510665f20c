"""Work that goes on after its request was answered."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from server.messages import StoreUnavailable
from server.telemetry import InFlight

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.5

Result = TypeVar("Result")


class Background:
    """Counts such work as in flight, so that a server that stops waits for it as it does for requests."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._stopping = asyncio.Event()
        # The event loop holds tasks weakly.
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin `work`, which goes on whether or not somebody waits for it."""
        task = asyncio.create_task(work)
        self._in_flight.enter()
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def stop(self) -> None:
        """Let nothing be tried again any more."""
        self._stopping.set()

    async def patiently(self, action: Callable[[], Awaitable[Result]]) -> Result:
        """Do `action`, again and again for a minute while the database is away; not if the server stops.

        `action` must be safe to repeat. Raises `StoreUnavailable` in the end, and what `action` raises.
        """
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                return await action()
            except StoreUnavailable:
                if self._stopping.is_set() or asyncio.get_running_loop().time() > deadline:
                    raise
            try:
                await asyncio.wait_for(self._stopping.wait(), PAUSE_SECONDS)
            except TimeoutError:
                continue

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._in_flight.leave()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StoreUnavailable):  # that is told to the caller
            logging.error("work in the background failed", exc_info=error)
