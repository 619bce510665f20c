"""The newest messages, from memory (the cache) or from the timeline, which asks the database."""

import asyncio
import contextvars
import time
from collections.abc import Callable

from server.messages import Message, Page, Reader
from server.telemetry import phase


class TtlCache:
    """One query answers the reads of the next `ttl` seconds, or until this process writes.

    A write of this process empties the cache. A write of another process is seen after at most `ttl`
    seconds; at once by a caller who says that it has seen it.

    Two rules keep that true. Reads that miss together share one query. And a query that began before
    a write may not have seen it, so its answer is neither kept nor given to reads that come after
    the write: `_writes` counts the writes, and a query belongs to the count at which it began.
    """

    def __init__(self, reader: Reader, ttl: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._ttl = ttl
        self._clock = clock
        self._writes = 0
        self._kept = Page([], None, 0)
        self._kept_limit = 0
        self._expires = clock()
        self._queries: dict[tuple[int, int], asyncio.Task[Page]] = {}

    async def newest(self, limit: int, seen: int = 0) -> Page:
        if limit <= self._kept_limit and seen <= self._kept.newest and self._clock() < self._expires:
            return self._kept.first(limit)
        page = await self._shared_query(limit)
        return page if seen <= page.newest else await self._query(limit, seen)

    def written(self, message: Message) -> None:
        self._reader.written(message)
        self._writes += 1
        self._kept_limit = 0

    async def _shared_query(self, limit: int) -> Page:
        key = (limit, self._writes)
        if key not in self._queries:
            # A context of its own: the wait is counted once for each reader, below, not for whoever came first.
            query = asyncio.create_task(self._query(limit), context=contextvars.Context())
            query.add_done_callback(lambda _: self._queries.pop(key))
            self._queries[key] = query
        with phase("db"):
            # A reader that goes away must not cancel the query the others wait for.
            return await asyncio.shield(self._queries[key])

    async def _query(self, limit: int, seen: int = 0) -> Page:
        began, writes = self._clock(), self._writes
        page = await self._reader.newest(limit, seen)
        if writes == self._writes and (limit >= self._kept_limit or began >= self._expires):
            self._kept, self._kept_limit, self._expires = page, limit, began + self._ttl
        return page


def reader(cache: str, timeline: Reader) -> Reader:
    """The reader that the setting `--cache` names; `off` is the timeline itself."""
    return TtlCache(timeline) if cache == "ttl" else timeline
