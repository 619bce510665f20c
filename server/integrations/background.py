"""Background tasks, which go on after their request was answered."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from server.messages import StoreUnavailable
from server.telemetry import InFlight

RETRY_SECONDS = 60.0
PAUSE_SECONDS = 0.5

Result = TypeVar("Result")


class Background:
    """Runs tasks that count as requests in flight, so that a server which stops waits for them."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._stopping = asyncio.Event()
        # Kept here, because the event loop holds only weak references to tasks.
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Start `work` as a task, which goes on even if nobody awaits it."""
        task = asyncio.create_task(work)
        self._in_flight.enter()
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def stop(self) -> None:
        """End all retries: the server is stopping."""
        self._stopping.set()

    async def retrying(self, action: Callable[[], Awaitable[Result]]) -> Result:
        """Await `action`, and retry it while the database is unavailable, until RETRY_SECONDS or the server's stop.

        `action` must be safe to repeat. Raises `StoreUnavailable` after the last attempt, and other errors of `action`.
        """
        deadline = asyncio.get_running_loop().time() + RETRY_SECONDS
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
        if error is not None and not isinstance(error, StoreUnavailable):  # the caller handles it
            logging.error("a background task failed", exc_info=error)
