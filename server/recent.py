"""The newest messages, from the database or from memory (the cache)."""

import asyncio
import contextvars
import time
from collections.abc import Callable

from server.messages import Message, Messages, Recent
from server.telemetry import phase


class Uncached:
    """Every read asks the database: the baseline a cache is measured against."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def newest(self, limit: int) -> list[Message]:
        return await self._messages.newest(limit)

    def written(self, message: Message) -> None:
        pass


class TtlCache:
    """One query answers the reads of the next `ttl` seconds, or until this process writes.

    A write of this process empties the cache, so whoever wrote through this process reads their own
    write. A write of another process is seen after at most `ttl` seconds.

    Two rules keep that true. Reads that miss together share one query. And a query that began before
    a write may not have seen it, so its answer is neither kept nor given to reads that come after
    the write: `_writes` counts the writes, and a query belongs to the count at which it began.
    """

    def __init__(self, messages: Messages, ttl: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._messages = messages
        self._ttl = ttl
        self._clock = clock
        self._writes = 0
        self._kept: list[Message] = []
        self._kept_limit = 0
        self._expires = clock()
        self._queries: dict[tuple[int, int], asyncio.Task[list[Message]]] = {}

    async def newest(self, limit: int) -> list[Message]:
        if limit <= self._kept_limit and self._clock() < self._expires:
            return self._kept[:limit]
        return await self._shared_query(limit)

    def written(self, message: Message) -> None:
        self._writes += 1
        self._kept, self._kept_limit = [], 0

    async def _shared_query(self, limit: int) -> list[Message]:
        key = (limit, self._writes)
        if key not in self._queries:
            # A context of its own: the wait is counted once for each reader, below, not for whoever came first.
            query = asyncio.create_task(self._query(limit), context=contextvars.Context())
            query.add_done_callback(lambda _: self._queries.pop(key))
            self._queries[key] = query
        with phase("db"):
            # A reader that goes away must not cancel the query the others wait for.
            return await asyncio.shield(self._queries[key])

    async def _query(self, limit: int) -> list[Message]:
        began, writes = self._clock(), self._writes
        messages = await self._messages.newest(limit)
        if writes == self._writes and (limit >= self._kept_limit or began >= self._expires):
            self._kept, self._kept_limit, self._expires = messages, limit, began + self._ttl
        return messages


def recent(cache: str, messages: Messages) -> Recent:
    """The reader that the setting `--cache` names."""
    if cache == "ttl":
        return TtlCache(messages)
    return Uncached(messages)
