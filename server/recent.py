"""The newest messages, from memory (the cache) or from the timeline, which asks the database.

`off` is the timeline itself. `ttl` keeps an answer for a second. `tail` keeps the messages themselves,
and lets each new one take its place at the front.
"""

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from itertools import islice

from server import tasks
from server.messages import MAX_LIMIT, Entry, Message, Messages, Page, Position, Reader
from server.telemetry import Phase
from server.timeline import Timeline

FRESH_SECONDS = 1.0  # the oldest that anything served here may be
CHECK_SECONDS = 0.25
PATIENCE_SECONDS = 0.1  # how long a message that is known to be stored may take to arrive
RESTART_SECONDS = 0.5


class SharedQueries:
    """Queries for the newest messages: reads that ask the same at the same time share one.

    A query that began before a write of this process may not have seen it, so reads that come after
    the write do not join it: `writes` counts them, and a query belongs to the count at which it began.
    """

    def __init__(self, reader: Reader, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._clock = clock
        self._running: dict[tuple[int, int], asyncio.Task[tuple[Page, float]]] = {}
        self.writes = 0

    async def newest(self, limit: int) -> tuple[Page, float]:
        """The `limit` newest messages, as the database had them at the time that is returned, or later."""
        key = (limit, self.writes)
        if key not in self._running:
            # A context of its own: the wait is counted once for each reader, below, not for whoever came first.
            query = asyncio.create_task(self._query(limit), context=contextvars.Context())
            query.add_done_callback(lambda _: self._running.pop(key))
            self._running[key] = query
        with Phase("db"):
            # A reader that goes away must not cancel the query the others wait for.
            return await asyncio.shield(self._running[key])

    async def _query(self, limit: int) -> tuple[Page, float]:
        began = self._clock()
        return await self._reader.newest(limit, 0), began


class TtlCache:
    """One query answers the reads of the next `ttl` seconds, or until this process writes.

    A write of this process empties the cache. A write of another process is seen after at most `ttl`
    seconds; at once by a caller who says that it has seen it. An answer from before a write is not kept.
    """

    def __init__(self, reader: Reader, ttl: float = FRESH_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._queries = SharedQueries(reader, clock)
        self._ttl = ttl
        self._clock = clock
        self._kept = Page([], None, 0)
        self._kept_limit = 0
        self._expires = clock()

    async def newest(self, limit: int, seen: int = 0) -> Page:
        kept = self.kept(limit, seen)
        if kept is not None:
            return kept
        writes = self._queries.writes
        page, began = await self._queries.newest(limit)
        if seen > page.newest:
            began = self._clock()
            page = await self._reader.newest(limit, seen)
        if writes == self._queries.writes and (limit >= self._kept_limit or began >= self._expires):
            self._kept, self._kept_limit, self._expires = page, limit, began + self._ttl
        return page

    def kept(self, limit: int, seen: int = 0) -> Page | None:
        if limit <= self._kept_limit and seen <= self._kept.newest and self._clock() < self._expires:
            return self._kept.first(limit)
        return None

    def written(self, message: Message) -> None:
        self._reader.written(message)
        self._queries.writes += 1
        self._kept_limit = 0


class TailCache:
    """The newest `size` messages, kept current by this process's writes and by a change stream for all others'.

    Numbers tell what is missing: a message takes its place when all before it have theirs, and until
    then it waits in `_early`. That makes the order in which things arrive here unimportant.

    A change stream that is cut may look like one on which nothing happens. So the database is asked
    several times a second how far it is, with a query that costs next to nothing. What has not arrived
    although it is stored is fetched; and what has not been confirmed for FRESH_SECONDS is not served:
    then, and as long as there is no stream at all, reads go to the database.
    """

    def __init__(
        self,
        messages: Messages,
        timeline: Timeline,
        size: int = MAX_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._messages = messages
        self._timeline = timeline
        self._queries = SharedQueries(timeline, clock)
        self._size = size
        self._clock = clock
        self.filled = asyncio.Event()  # while the tail is in memory and a change stream is open
        self._tail: deque[Message] = deque(maxlen=size)  # oldest first
        self._is_all = False  # whether the tail holds every message there is
        self._newest = 0  # the number up to which the tail is complete
        self._early: dict[int, Entry] = {}
        self._current_at = 0.0  # when the tail was last known to hold everything
        self._pages: dict[int, Page] = {}  # by limit, while nothing changes
        self._arrival = asyncio.Event()  # replaced whenever something arrives

    # Reads.

    async def newest(self, limit: int, seen: int = 0) -> Page:
        kept = self.kept(limit, seen)
        if kept is None and self._serves() and seen > self._newest:
            # Another process has stored it and the stream is about to say so.
            await self._reaches(seen)
            kept = self.kept(limit, seen)
        if kept is not None:
            return kept
        page, _ = await self._queries.newest(limit)
        return page if seen <= page.newest else await self._timeline.newest(limit, seen)

    def kept(self, limit: int, seen: int = 0) -> Page | None:
        if not self._serves() or seen > self._newest or (limit > len(self._tail) and not self._is_all):
            return None
        if limit not in self._pages:
            newest_first = list(islice(reversed(self._tail), limit))
            more = len(self._tail) > limit or not self._is_all
            self._pages[limit] = Page(
                newest_first, Position(before=newest_first[-1].seq) if more else None, self._newest
            )
        return self._pages[limit]

    def _serves(self) -> bool:
        return self.filled.is_set() and self._clock() - self._current_at < FRESH_SECONDS

    # What arrives.

    def written(self, message: Message) -> None:
        self._timeline.written(message)
        self._queries.writes += 1
        self.arrived(message)

    def arrived(self, entry: Entry) -> None:
        """Take in a message, or a number that is void, from wherever it comes."""
        if entry.seq is None or (self.filled.is_set() and entry.seq <= self._newest):
            return
        self._early[entry.seq] = entry
        if self.filled.is_set():
            self._take_early()

    def _take_early(self) -> None:
        changed = False
        while (entry := self._early.pop(self._newest + 1, None)) is not None:
            self._newest += 1
            changed = True
            self._timeline.written(entry)
            if isinstance(entry, Message):
                self._is_all = self._is_all and len(self._tail) < self._size
                self._tail.append(entry)
        if changed:
            self._pages.clear()
            self._arrival.set()
            self._arrival = asyncio.Event()

    async def _reaches(self, number: int) -> bool:
        """Wait a little until everything up to `number` has arrived; whether it has."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self._newest < number:
                    await self._arrival.wait()
        except TimeoutError:
            return False
        return True

    # The background.

    async def follow(self) -> None:
        """Keep the tail current, for ever."""
        while True:
            try:
                await self._follow_one_stream()
            except Exception as error:  # whatever it is, reads still have the database
                logging.warning("the newest messages are read from the database for now: %s", error)
            finally:
                self.filled.clear()
                self._early.clear()
            await asyncio.sleep(RESTART_SECONDS)

    async def _follow_one_stream(self) -> None:
        """Fill the tail and keep it current until the stream or the database fails."""
        checking: asyncio.Task[None] | None = None
        async with aclosing(self._messages.changes()) as changes:
            try:
                async for entry in changes:
                    if checking is None:
                        # The stream is open: nothing stored from now on can be missed by both it and the query.
                        checking = asyncio.create_task(self._fill_and_check())
                    if entry is not None:
                        self.arrived(entry)
                    if checking.done():
                        checking.result()  # raises why it ended
            finally:
                if checking is not None:
                    await tasks.end(checking)

    async def _fill_and_check(self) -> None:
        began = self._clock()
        page = await self._timeline.newest(self._size)
        numbered = [message for message in page.messages if message.seq is not None]
        self._tail = deque(reversed(numbered), maxlen=self._size)
        self._is_all = page.next is None and len(numbered) == len(page.messages)
        self._newest, self._current_at = page.newest, began
        self.filled.set()
        self._pages.clear()
        self._early = {number: entry for number, entry in self._early.items() if number > self._newest}
        self._take_early()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._check()

    async def _check(self) -> None:
        """Find out whether everything that is stored has arrived, and fetch what has not."""
        began = self._clock()
        await self._timeline.catch_up()
        stored = self._timeline.complete
        while not await self._reaches(stored):
            for entry in await self._messages.after(self._newest, MAX_LIMIT):
                self.arrived(entry)
        self._current_at = began


def reader(cache: str, messages: Messages, timeline: Timeline) -> Reader:
    """The reader that the setting `--cache` names."""
    if cache == "tail":
        return TailCache(messages, timeline)
    return TtlCache(timeline) if cache == "ttl" else timeline
