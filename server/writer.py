"""How messages get into the store: each by itself, or many in one commit (group commit).

A commit has a fixed price: two round trips, and waiting until the journal is on disk. Written one by
one, every message pays it. `GroupCommit` has one batch on its way at a time, and what arrives
meanwhile is the next batch. No timer decides: without company a message goes at once, and the more
arrive, the larger the batches and the less each one costs.

Those whose messages were stored together are told together, and come back with their next ones one
close behind the other. A batch that left with the first of them would leave the others to wait for all
of a commit. So it leaves when a turn of the event loop has brought nobody else.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from server.messages import Message, Messages, Outcome, Write, Writer
from server.telemetry import Phase

# A batch is bounded, or one that is slow would be followed by one that is slower.
MOST_MESSAGES = 500
MOST_CHARACTERS = 1_000_000


class Single:
    """One commit for each message."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self.waiting = 0

    async def add(self, write: Write, known_complete: int) -> tuple[Message, bool]:
        self.waiting += 1
        try:
            (outcome,) = await self._messages.add([write], known_complete)
        finally:
            self.waiting -= 1
        return _result(outcome)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A write and, later, what became of it."""

    write: Write
    outcome: "asyncio.Future[Outcome]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, outcome: Outcome) -> None:
        if not self.outcome.done():  # whoever waited may have gone
            self.outcome.set_result(outcome)


class GroupCommit:
    """One commit for all messages that arrived while the last one was on its way, or close behind them."""

    def __init__(self, messages: Messages, clock: Callable[[], float] = time.monotonic) -> None:
        self._messages = messages
        self._clock = clock
        self._queue: deque[_Waiting] = deque()
        self._known_complete = 0
        self._committing: asyncio.Task[None] | None = None
        self._last_took = 0.0
        self.waiting = 0

    async def add(self, write: Write, known_complete: int) -> tuple[Message, bool]:
        waiting = _Waiting(write)
        self._queue.append(waiting)
        self._known_complete = max(self._known_complete, known_complete)
        if self._committing is None:
            # A context of its own: the wait is counted once for each message, below, not for whoever came first.
            self._committing = asyncio.create_task(self._commit(), context=contextvars.Context())
        self.waiting += 1
        try:
            with Phase("db"):
                return _result(await waiting.outcome)
        finally:
            self.waiting -= 1

    async def _commit(self) -> None:
        try:
            while self._queue:
                await self._until_nobody_comes()
                batch = self._next_batch()
                began = self._clock()
                try:
                    outcomes = await self._messages.add([each.write for each in batch], self._known_complete)
                except Exception as error:  # whatever it is, it belongs to those who wait
                    outcomes = [error] * len(batch)
                self._last_took = self._clock() - began
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    waiting.settle(outcome)
        finally:
            self._committing = None

    async def _until_nobody_comes(self) -> None:
        """Return after the first turn of the event loop in which no write comes.

        It takes no longer than the last commit did: to miss a commit and wait for it would cost no more.
        """
        until = self._clock() + self._last_took
        waiting = 0
        while waiting < len(self._queue) < MOST_MESSAGES:
            waiting = len(self._queue)
            await asyncio.sleep(0)
            if self._clock() > until:
                break

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        characters = 0
        while self._queue and len(batch) < MOST_MESSAGES:
            characters += len(self._queue[0].write.new.text)
            if batch and characters > MOST_CHARACTERS:
                break
            batch.append(self._queue.popleft())
        return batch


def writer(writes: str, messages: Messages) -> Writer:
    """The writer that the setting `--writes` names."""
    return GroupCommit(messages) if writes == "grouped" else Single(messages)


def _result(outcome: Outcome) -> tuple[Message, bool]:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
