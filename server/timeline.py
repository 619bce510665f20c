"""Reads in sequence order that never skip a message, although many processes write at once.

Each message has a sequence number, allocated from a counter, so "what came after number 41" has one answer. But a
number is allocated before its message is stored: a writer may still hold 42 when 43 is stored already. A reader who
was shown 43 and continued from there would never see 42. So nothing is shown above the first missing number;
`complete` is the last number below it.

A number stays missing while its writer works, for some milliseconds, or for ever if the writer died. No clock can
tell the two apart. So after GAP_SECONDS the number is made void: an entry is stored under it that is no message.
Numbers are unique in the database, so a writer that was only slow finds its number taken and allocates a new one.
Whichever comes first wins, and no message is ever skipped by a guess. GAP_SECONDS may have any value: a short one
costs slow writers a retry, a long one makes readers wait behind a dead writer.

Who has not looked for longer than that cannot know how long a number has been missing. Then it is made void at once:
what is above it may have been acknowledged long ago, and a list that waited once more would lack it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from server.messages import Entry, Message, Messages, Page, Position, StoreUnavailable, Void

GAP_SECONDS = 0.5
POLL_SECONDS = 0.01
WAIT_SECONDS = 5.0
BATCH = 1000


class Timeline:
    """Gap-free paged reads, straight from the database. One instance in each process.

    Reads show numbers up to `complete`. `recent` extends `complete` by itself; before the others, call `catch_up`.
    """

    def __init__(self, messages: Messages, clock: Callable[[], float] = time.monotonic) -> None:
        self._messages = messages
        self._clock = clock
        # The highest number that each look at the database found, of the last GAP_SECONDS, oldest first.
        self._looks: deque[tuple[float, int]] = deque([(clock(), 0)])
        self.complete = 0

    async def start(self) -> None:
        """Initialise `complete` from the database. Raises `StoreUnavailable`."""
        self._looks.clear()
        self.complete = await self._messages.known_complete()

    def cached(self, limit: int, seen: int) -> Page | None:
        """Return None: this class caches nothing."""
        return None

    def note_stored(self, entry: Entry) -> None:
        """Extend `complete` if `entry`, which is stored, has the next number."""
        if entry.seq is not None:
            self.complete = _extended(self.complete, [entry.seq])

    async def warm_up(self) -> None:
        """Return at once: there is no cache to fill."""

    async def run(self) -> None:
        """Return at once: there is no cache to keep current."""

    # Each read below uses the value that `complete` had before its query began. A query may miss what is stored while
    # it runs, and another read may have extended `complete` past that when the query returns.

    async def recent(self, limit: int, seen: int = 0) -> Page:
        """The `limit` newest messages, newest first, from a state that includes number `seen`."""
        complete, began = self.complete, self._clock()
        with self._noting_outages():
            entries = await self._messages.before(Position(), limit + 1)
        numbers = [entry.seq for entry in reversed(entries) if entry.seq is not None]
        # Usually the page reaches down to `complete`, and so shows which numbers are missing.
        lowest = numbers[0] if numbers else None
        reaches = (
            len(entries) <= limit or _place(entries[-1]) is None or (lowest is not None and lowest <= complete + 1)
        )
        if reaches:
            complete = _extended(complete, numbers)
            self.complete = max(self.complete, complete)
        overdue = self._overdue(numbers)
        if reaches:
            self._note_look(began, numbers)
        if not reaches or complete < seen or overdue:
            await self.catch_up(seen)
            return await self.page(Position(), limit)
        return await self._page(entries, Position(), limit, complete)

    async def page(self, position: Position, limit: int, complete: int | None = None) -> Page:
        """The `limit` messages below `position`, newest first, none above `complete`: what it is now, if left out."""
        complete = self.complete if complete is None else complete
        if position.before_id is None:
            before = complete + 1 if position.before is None else min(position.before, complete + 1)
            position = replace(position, before=before)
        entries = await self._messages.before(position, limit + 1)
        return await self._page(entries, position, limit, complete)

    async def floor(self, since: datetime) -> int | None:
        """The lowest number of a message created at or after `since`, or None: times never fall as numbers grow."""
        return await self._messages.first_since(since)

    async def after(self, seq: int, limit: int, ceiling: int | None = None) -> Page:
        """The `limit` messages that follow number `seq` and are below `ceiling`, oldest first.

        The next call continues after the page's `up_to`.
        """
        last = self.complete if ceiling is None else min(self.complete, ceiling - 1)
        if seq >= last:
            return Page([], None, seq)
        messages: list[Message] = []
        place: Any = seq
        up_to = seq
        while (wanted := limit - len(messages)) > 0:
            entries = await self._messages.after(place, wanted)
            numbers = [entry.seq for entry in entries if entry.seq is not None]
            messages += _only_messages(entry for entry in entries if entry.seq is not None and entry.seq <= last)
            if len(entries) < wanted or (numbers and numbers[-1] >= last):
                return Page(messages, None, last)
            place, up_to = _place(entries[-1]), numbers[-1] if numbers else up_to
        return Page(messages, None, up_to)

    async def replies(self, id: str, after: int, limit: int) -> Page:
        """The `limit` replies to a message that follow number `after`, oldest first."""
        complete = self.complete
        found = await self._messages.replies(id, after, complete, limit + 1)
        more = Position(before=found[limit - 1].seq) if len(found) > limit else None
        return Page(found[:limit], more, complete)

    async def catch_up(self, seen: int = 0) -> None:
        """Extend `complete` to what is stored; if it stays below `seen`, wait for the missing numbers in between.

        Waits WAIT_SECONDS at most. Numbers that have been missing for GAP_SECONDS are made void.
        """
        with self._noting_outages():
            await self._catch_up(seen)

    async def _catch_up(self, seen: int) -> None:
        deadline = self._clock() + WAIT_SECONDS
        while True:
            began = self._clock()
            numbers = await self._messages.numbers_after(self.complete, BATCH)
            self.complete = _extended(self.complete, numbers)
            overdue = self._overdue(numbers)
            if len(numbers) < BATCH:
                self._note_look(began, numbers)
            if overdue:
                present = next(number for number in numbers if number > self.complete)
                await self._messages.make_void(range(self.complete + 1, present))
            elif not numbers or numbers[-1] <= self.complete:
                if len(numbers) < BATCH:
                    return
            elif self.complete >= seen or self._clock() > deadline:
                return
            else:
                await asyncio.sleep(POLL_SECONDS)

    @contextmanager
    def _noting_outages(self) -> Iterator[None]:
        """Forget the looks if the database is away. Who held the missing numbers has failed with it, most likely."""
        try:
            yield
        except StoreUnavailable:
            self._looks.clear()
            raise

    async def _page(self, entries: list[Entry], position: Position, limit: int, complete: int) -> Page:
        """A page of messages numbered up to `complete`, of which `entries` are the first below `position`.

        More entries are fetched in place of those that are void, or numbered above `complete`.
        """
        asked = limit + 1
        messages: list[Message] = []
        while True:
            shown = _only_messages(entry for entry in entries if entry.seq is None or entry.seq <= complete)
            messages += [each for each in shown if position.since is None or each.created_at >= position.since]
            if len(messages) > limit or len(entries) < asked:
                break
            position = _below(entries[-1], position)
            asked = limit + 1 - len(messages)
            entries = await self._messages.before(position, asked)
        more = _below(messages[limit - 1], position) if len(messages) > limit else None
        return Page(messages[:limit], more, complete)

    def _overdue(self, numbers: list[int]) -> bool:
        """Whether a number is missing below the last of `numbers`, and may have been for GAP_SECONDS.

        It was not missing yet at a look that found nothing above it.
        """
        while self._looks and self._looks[0][0] <= self._clock() - GAP_SECONDS:
            self._looks.popleft()
        missing = self.complete + 1
        return missing < max(numbers, default=0) and (not self._looks or self._looks[0][1] > missing)

    def _note_look(self, began: float, numbers: list[int]) -> None:
        """Remember a look that began then, and found `numbers`, the highest among them."""
        self._looks.append((began, max(numbers, default=self.complete)))


def _extended(complete: int, numbers: Iterable[int]) -> int:
    """The last of the ascending `numbers` that follows `complete` without a gap; `complete` if none does."""
    for number in numbers:
        if number == complete + 1:
            complete = number
    return complete


def _only_messages(entries: Iterable[Entry]) -> list[Message]:
    return [entry for entry in entries if isinstance(entry, Message)]


def _place(entry: Entry) -> Any:
    """The number by which the store orders an entry, which is no whole one for some odd documents; or None."""
    return entry.place if isinstance(entry, Void) and entry.seq is None else entry.seq


def _below(entry: Entry, position: Position) -> Position:
    """The position below an entry, with the bounds of `position`."""
    place = _place(entry)
    return replace(position, before=None, before_id=entry.id) if place is None else position.at(place)
