"""Writes to the store: one commit for each message, or one for many (group commit).

A commit has a fixed cost: two round trips, and waiting for the journal to be on disk. With `Single` every message
pays it. `GroupCommit` has one batch in flight at a time, and the writes that arrive meanwhile are the next batch.
There is no timer: a lone write is sent at once, and the more arrive, the larger the batches and the lower the cost
of each.

Callers whose messages were committed together get their answers together, and send their next messages shortly one
after another. A batch that was sent with the first of these would make the others wait for a whole commit. So a batch
is sent after the first iteration of the event loop in which no write arrived.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context

from server.messages import Message, Messages, Outcome, StoreUnavailable, Write, Writer
from server.phases import QUEUE, Phases, current, start

# Batches are bounded, or a slow one would be followed by a larger and slower one.
MAX_MESSAGES = 500
MAX_CHARACTERS = 1_000_000


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


class _Waiting:
    """A queued write, the phases of its request, if it has one, and a future for its outcome: within `seconds`."""

    __slots__ = ("_expires", "outcome", "phases", "write")

    def __init__(self, write: Write, seconds: float | None) -> None:
        self.write = write
        self.phases = current() or Phases()
        self.phases.begin(QUEUE)
        loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Outcome] = loop.create_future()
        self._expires = None if seconds is None else loop.call_later(seconds, self._expire, seconds)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.outcome.done()

    def wait_for(self, commit: Phases, spent: dict[str, float]) -> None:
        """Leave the queue, and wait for all of the commit, as all others of the batch do."""
        self.phases.end(QUEUE)
        self.phases.wait_for(commit, spent)

    def settle(self, outcome: Outcome) -> None:
        if self._expires is not None:
            self._expires.cancel()
        if not self.outcome.done():  # the caller may have been cancelled
            self.outcome.set_result(outcome)

    def _expire(self, seconds: float) -> None:
        self.settle(StoreUnavailable(f"it did not store the message within {seconds:g} s"))


class GroupCommit:
    """One commit for all messages that arrived while the last one was in flight, or shortly after it.

    A write waits for `seconds` at most, the commit before its own included. After that `StoreUnavailable` is raised, as
    for a commit that is not answered: the message may yet be stored, if its commit has begun.
    """

    def __init__(
        self, messages: Messages, clock: Callable[[], float] = time.monotonic, seconds: float | None = None
    ) -> None:
        self._messages = messages
        self._seconds = seconds
        self._clock = clock
        self._queue: deque[_Waiting] = deque()
        self._known_complete = 0
        self._committing: asyncio.Task[None] | None = None
        self._last_took = 0.0
        self.waiting = 0

    async def add(self, write: Write, known_complete: int) -> tuple[Message, bool]:
        waiting = _Waiting(write, self._seconds)
        self._queue.append(waiting)
        self._known_complete = max(self._known_complete, known_complete)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit(), context=Context())  # for all, not the first request
        self.waiting += 1
        try:
            return _result(await waiting.outcome)
        finally:
            self.waiting -= 1

    async def _commit(self) -> None:
        try:
            while self._queue:
                await self._wait_for_stragglers()
                batch = self._next_batch()
                if not batch:
                    break
                began, commit = self._clock(), start()
                spent = commit.so_far()
                for waiting in batch:
                    waiting.wait_for(commit, spent)
                try:
                    outcomes = await self._messages.add([each.write for each in batch], self._known_complete)
                except Exception as error:  # raised in the callers, which wait for the outcomes
                    outcomes = [error] * len(batch)
                self._last_took = self._clock() - began
                spent = commit.so_far()
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    waiting.phases.stop_waiting_for(commit, spent)
                    waiting.settle(outcome)
        finally:
            self._committing = None

    async def _wait_for_stragglers(self) -> None:
        """Return after the first iteration of the event loop in which no write arrives.

        It waits no longer than the last commit took: to miss a commit costs its callers no more than that.
        """
        until = self._clock() + self._last_took
        waiting = 0
        while waiting < len(self._queue) < MAX_MESSAGES:
            waiting = len(self._queue)
            await asyncio.sleep(0)
            if self._clock() > until:
                break

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        characters = 0
        while self._queue and len(batch) < MAX_MESSAGES:
            if self._queue[0].is_over:
                self._queue.popleft()
                continue
            characters += len(self._queue[0].write.new.text)
            if batch and characters > MAX_CHARACTERS:
                break
            batch.append(self._queue.popleft())
        return batch


def writer_for(writes: str, messages: Messages, seconds: float | None = None) -> Writer:
    """The writer that a value of `--writes` names. An operation of `messages` takes `seconds` at most."""
    return GroupCommit(messages, seconds=seconds) if writes == "grouped" else Single(messages)


def _result(outcome: Outcome) -> tuple[Message, bool]:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
