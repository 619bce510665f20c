"""Caches of the most recent messages, one for each value of `--cache`.

`off` reads from the database each time (`server.timeline`). `ttl` caches a page for a second. `tail` keeps the most
recent messages in memory and adds each new one as it is stored.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from server import tasks
from server.messages import MAX_LIMIT, Entry, Message, Messages, Page, Position, Reader
from server.phases import Phases, apart, waiting_for
from server.timeline import Timeline

FRESH_SECONDS = 1.0  # the maximum age of anything served from a cache
CHECK_SECONDS = 0.25
PATIENCE_SECONDS = 0.1  # how long to wait for the change stream to deliver a message that is known to be stored
WARM_UP_SECONDS = 2.0
RESTART_SECONDS = 0.5


class _SharedQuery(NamedTuple):
    """A query that runs, what it spends its time on, and when it began."""

    task: asyncio.Task[Page]
    phases: Phases
    began: float


class SharedQueries:
    """Coalesces concurrent reads of the same page into one query (request coalescing, "single flight").

    A query that began before a write of this process may miss that write, so later reads do not join it: `writes`
    counts the writes, and a query is shared only among reads that began at the same count. What others have written
    since it began it may miss too: nobody joins a query that has been running for FRESH_SECONDS.
    """

    def __init__(self, reader: Reader, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._clock = clock
        self._running: dict[tuple[int, int], _SharedQuery] = {}
        self.writes = 0

    async def recent(self, limit: int) -> tuple[Page, float]:
        """The `limit` newest messages, and the time (by the clock) at which the query for them began."""
        key, now = (limit, self.writes), self._clock()
        query = self._running.get(key)
        if query is None or query.task.done() or now - query.began >= FRESH_SECONDS:
            context, phases = apart()
            task = asyncio.create_task(self._reader.recent(limit, 0), context=context)
            query = self._running[key] = _SharedQuery(task, phases, now)
            task.add_done_callback(lambda _: self._forget(key, query))
        with waiting_for(query.phases):
            # A reader that is cancelled must not cancel the query for the others.
            return await asyncio.shield(query.task), query.began

    def _forget(self, key: tuple[int, int], query: "_SharedQuery") -> None:
        if self._running.get(key) is query:
            del self._running[key]


class TtlCache:
    """Caches the largest page that was read, for `ttl` seconds or until this process writes.

    A write of another process is visible after at most `ttl` seconds, and at once to a caller whose `seen` includes
    it. The result of a query that began before a write of this process is not cached.
    """

    def __init__(self, reader: Reader, ttl: float = FRESH_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._queries = SharedQueries(reader, clock)
        self._ttl = ttl
        self._clock = clock
        self._page = Page([], None, 0)
        self._cached_limit = 0
        self._expires = clock()

    async def recent(self, limit: int, seen: int = 0) -> Page:
        cached = self.cached(limit, seen)
        if cached is not None:
            return cached
        writes = self._queries.writes
        page, began = await self._queries.recent(limit)
        if seen > page.up_to:
            began = self._clock()
            page = await self._reader.recent(limit, seen)
        if writes == self._queries.writes and (limit >= self._cached_limit or began >= self._expires):
            self._page, self._cached_limit, self._expires = page, limit, began + self._ttl
        return page

    def cached(self, limit: int, seen: int = 0) -> Page | None:
        if limit <= self._cached_limit and seen <= self._page.up_to and self._clock() < self._expires:
            return self._page.first(limit)
        return None

    def note_stored(self, message: Message) -> None:
        self._reader.note_stored(message)
        self._queries.writes += 1
        self._cached_limit = 0

    async def warm_up(self) -> None:
        """Return at once: the first read fills the cache."""

    async def run(self) -> None:
        """Return at once: pages expire by themselves."""


class TailCache:
    """Keeps the newest `size` messages in memory, updated by this process's writes and by a change stream.

    Entries may arrive in any order. An entry is appended when all with lower numbers are there; until then it waits
    in `_early`.

    A change stream that is cut looks like one on which nothing happens. So the database is asked several times a
    second for its newest number, with a covered query. Entries that are stored but have not arrived are fetched. A
    tail that was not confirmed for FRESH_SECONDS is not served: then, and while there is no change stream, reads go
    to the database.
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
        self.filled = asyncio.Event()  # set while the tail is in memory and a change stream is open
        self._tail: deque[Message] = deque(maxlen=size)  # oldest first
        self._is_all = False  # whether the tail holds every stored message
        self._complete = 0  # no number up to this one is missing from the tail
        self._early: dict[int, Entry] = {}
        self._confirmed_at = 0.0  # when the tail was last known to include all that is stored
        self._pages: dict[int, Page] = {}  # by limit; emptied by every change
        self._arrival = asyncio.Event()  # replaced whenever something arrives

    # Reads.

    async def recent(self, limit: int, seen: int = 0) -> Page:
        cached = self.cached(limit, seen)
        if cached is None and self._serves() and seen > self._complete:
            # Another process has stored it, and the change stream is about to deliver it.
            await self._reaches(seen)
            cached = self.cached(limit, seen)
        if cached is not None:
            return cached
        page, _ = await self._queries.recent(limit)
        return page if seen <= page.up_to else await self._timeline.recent(limit, seen)

    def cached(self, limit: int, seen: int = 0) -> Page | None:
        if not self._serves() or seen > self._complete:
            return None
        page = self._pages.get(limit)
        if page is None and (limit <= len(self._tail) or self._is_all):
            newest_first = list(islice(reversed(self._tail), limit))
            more = len(self._tail) > limit or not self._is_all
            page = Page(newest_first, Position(before=newest_first[-1].seq) if more else None, self._complete)
            self._pages[limit] = page
        return page

    def _serves(self) -> bool:
        return self.filled.is_set() and self._clock() - self._confirmed_at < FRESH_SECONDS

    # What arrives.

    def note_stored(self, message: Message) -> None:
        self._timeline.note_stored(message)
        self._queries.writes += 1
        self.arrived(message)

    def arrived(self, entry: Entry) -> None:
        """Add a stored entry, from whatever source; its order of arrival does not matter."""
        if entry.seq is None or (self.filled.is_set() and entry.seq <= self._complete):
            return
        self._early[entry.seq] = entry
        if self.filled.is_set():
            self._take_early()

    def _take_early(self) -> None:
        changed = False
        while (entry := self._early.pop(self._complete + 1, None)) is not None:
            self._complete += 1
            changed = True
            self._timeline.note_stored(entry)
            if isinstance(entry, Message):
                self._is_all = self._is_all and len(self._tail) < self._size
                self._tail.append(entry)
        if changed:
            self._pages.clear()
            self._arrival.set()
            self._arrival = asyncio.Event()

    async def _reaches(self, number: int) -> bool:
        """Wait up to PATIENCE_SECONDS for all entries up to `number`; return whether they have arrived."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self._complete < number:
                    await self._arrival.wait()
        except TimeoutError:
            return False
        return True

    # The background.

    async def warm_up(self) -> None:
        """Return when the tail is filled, at the latest after WARM_UP_SECONDS: reads then go to the database."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.filled.wait(), WARM_UP_SECONDS)

    async def run(self) -> None:
        """Keep the tail current, for ever."""
        while True:
            try:
                await self._follow_one_stream()
            except Exception as error:  # reads go to the database meanwhile
                logging.warning("the newest messages are read from the database for now: %s", error)
            finally:
                self.filled.clear()
                self._early.clear()
            await asyncio.sleep(RESTART_SECONDS)

    async def _follow_one_stream(self) -> None:
        """Fill the tail and keep it current until the stream or the database fails."""
        checking: asyncio.Task[None] | None = None
        async with contextlib.aclosing(self._messages.changes()) as changes:
            try:
                async for entry in changes:
                    if checking is None:
                        # The stream is open: it, or the query that fills the tail, sees whatever is stored from now on.
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
        page = await self._timeline.recent(self._size)
        numbered = [message for message in page.messages if message.seq is not None]
        self._tail = deque(reversed(numbered), maxlen=self._size)
        self._is_all = page.next is None and len(numbered) == len(page.messages)
        self._complete, self._confirmed_at = page.up_to, began
        self.filled.set()
        self._pages.clear()
        self._early = {number: entry for number, entry in self._early.items() if number > self._complete}
        self._take_early()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._check()

    async def _check(self) -> None:
        """Compare the tail with the newest stored number, and fetch the entries that have not arrived."""
        began = self._clock()
        await self._timeline.catch_up()
        stored = self._timeline.complete
        while not await self._reaches(stored):
            for entry in await self._messages.after(self._complete, MAX_LIMIT):
                self.arrived(entry)
        self._confirmed_at = began


def reader_for(cache: str, messages: Messages, timeline: Timeline) -> Reader:
    """The reader that a value of `--cache` names."""
    if cache == "tail":
        return TailCache(messages, timeline)
    return TtlCache(timeline) if cache == "ttl" else timeline
