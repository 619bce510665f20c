"""The readers of the newest messages, with the cache and without, on a real store."""

import asyncio

import pytest

from server.messages import Message, NewMessage, Page, Reader
from server.recent import TtlCache, reader
from server.store import Store
from server.timeline import Timeline
from tests.server.conftest import Queries


async def add(store: Store, text: str) -> Message:
    message, _ = await store.add(NewMessage(text=text), "api", None, 0)
    return message


async def read(readers: Reader, limit: int, seen: int = 0) -> list[Message]:
    return (await readers.newest(limit, seen)).messages


class Clock:
    """A time that passes when a test says so."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Held:
    """The real timeline, but its answers are held back until `let_go` is set."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.answered = asyncio.Event()
        self.let_go = asyncio.Event()

    async def newest(self, limit: int, seen: int = 0) -> Page:
        page = await self._timeline.newest(limit, seen)
        self.answered.set()
        await self.let_go.wait()
        return page

    def written(self, message: Message) -> None:
        self._timeline.written(message)


@pytest.fixture
def timeline(store: Store) -> Timeline:
    return Timeline(store)


# What every reader promises.


@pytest.fixture(params=["off", "ttl"])
def any_reader(request: pytest.FixtureRequest, timeline: Timeline) -> Reader:
    return reader(request.param, timeline)


@pytest.mark.asyncio
async def test_nothing_stored_is_nothing_read(any_reader: Reader) -> None:
    assert await read(any_reader, 5) == []


@pytest.mark.parametrize("limits", [(1, 3, 2, 10, 3), (10, 1), (2, 2)])
@pytest.mark.asyncio
async def test_the_newest_come_first_whatever_was_asked_before(
    any_reader: Reader, store: Store, limits: tuple[int, ...]
) -> None:
    stored = [await add(store, f"number {number}") for number in range(5)]
    for limit in limits:
        assert await read(any_reader, limit) == stored[::-1][:limit]


@pytest.mark.asyncio
async def test_a_write_of_this_process_is_seen_at_once(any_reader: Reader, store: Store) -> None:
    for number in range(5):
        assert len(await read(any_reader, 10)) == number
        written = await add(store, f"number {number}")
        any_reader.written(written)
        assert await read(any_reader, 1) == [written]


@pytest.mark.asyncio
async def test_a_write_of_another_process_is_seen_by_who_knows_its_number(any_reader: Reader, store: Store) -> None:
    assert await read(any_reader, 5) == []
    written = await add(store, "by another process")  # which this reader is not told of
    assert written.seq is not None
    assert await read(any_reader, 5, seen=written.seq) == [written]


@pytest.mark.asyncio
async def test_readers_at_the_same_moment_read_the_same(any_reader: Reader, store: Store) -> None:
    stored = await add(store, "hello")
    answers = await asyncio.gather(*(read(any_reader, 3) for _ in range(10)))
    assert answers == [[stored]] * 10


# What the cache promises.


@pytest.mark.asyncio
async def test_without_the_cache_each_read_is_a_query(timeline: Timeline, queries: Queries) -> None:
    uncached = reader("off", timeline)
    for _ in range(3):
        await read(uncached, 5)
    assert len(queries()) == 3


@pytest.mark.asyncio
async def test_one_query_serves_the_reads_until_the_ttl_is_over(timeline: Timeline, queries: Queries) -> None:
    clock = Clock()
    cache = TtlCache(timeline, ttl=1.0, clock=clock)
    for clock.time in (0.0, 0.5, 0.999):
        await read(cache, 5)
        await read(cache, 3)
    assert len(queries()) == 1
    clock.time = 1.0
    await read(cache, 5)
    assert len(queries()) == 2


@pytest.mark.asyncio
async def test_a_longer_list_than_is_kept_is_a_query(timeline: Timeline, queries: Queries) -> None:
    cache = TtlCache(timeline, clock=Clock())
    for limit in (5, 6, 6, 5):
        await read(cache, limit)
    assert len(queries()) == 2


@pytest.mark.asyncio
async def test_a_write_of_another_process_is_seen_when_the_ttl_is_over(timeline: Timeline, store: Store) -> None:
    clock = Clock()
    cache = TtlCache(timeline, ttl=1.0, clock=clock)
    assert await read(cache, 5) == []
    written = await add(store, "by another process")  # which this cache is not told of
    clock.time = 0.999
    assert await read(cache, 5) == []
    clock.time = 1.0
    assert await read(cache, 5) == [written]


@pytest.mark.asyncio
async def test_reads_that_miss_together_share_one_query(timeline: Timeline, queries: Queries) -> None:
    cache = TtlCache(timeline, clock=Clock())
    await asyncio.gather(*(read(cache, 5) for _ in range(50)))
    assert len(queries()) == 1


@pytest.mark.asyncio
async def test_a_query_that_began_before_a_write_is_not_kept(timeline: Timeline, store: Store) -> None:
    held = Held(timeline)
    cache = TtlCache(held, clock=Clock())
    early = asyncio.create_task(read(cache, 5))
    await held.answered.wait()
    written = await add(store, "meanwhile")
    cache.written(written)
    held.let_go.set()
    assert await early == []
    assert await read(cache, 5) == [written]


@pytest.mark.asyncio
async def test_a_read_after_a_write_does_not_join_a_query_from_before_it(timeline: Timeline, store: Store) -> None:
    held = Held(timeline)
    cache = TtlCache(held, clock=Clock())
    early = asyncio.create_task(read(cache, 5))
    await held.answered.wait()
    written = await add(store, "meanwhile")
    cache.written(written)
    late = asyncio.create_task(read(cache, 5))
    held.let_go.set()
    assert await early == []
    assert await late == [written]


@pytest.mark.asyncio
async def test_a_reader_that_goes_away_does_not_harm_the_others(
    timeline: Timeline, store: Store, queries: Queries
) -> None:
    held = Held(timeline)
    cache = TtlCache(held, clock=Clock())
    stored = await add(store, "hello")
    readers = [asyncio.create_task(read(cache, 5)) for _ in range(3)]
    await held.answered.wait()
    readers[0].cancel()
    held.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await readers[0]
    assert await asyncio.gather(*readers[1:]) == [[stored]] * 2
    assert await read(cache, 5) == [stored]
    assert len(queries()) == 1


@pytest.mark.asyncio
async def test_a_query_that_fails_is_not_kept(timeline: Timeline, store: Store) -> None:
    class FailsOnce(Held):
        async def newest(self, limit: int, seen: int = 0) -> Page:
            if not self.answered.is_set():
                self.answered.set()
                raise ConnectionError
            return await timeline.newest(limit, seen)

    cache = TtlCache(FailsOnce(timeline), clock=Clock())
    stored = await add(store, "hello")
    answers = await asyncio.gather(*(read(cache, 5) for _ in range(2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError] * 2
    assert await read(cache, 5) == [stored]
