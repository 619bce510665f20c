"""The readers of the newest messages, with the cache and without, on a real store."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from migrations.runner import Database
from server import tasks
from server.messages import Entry, Message, Page, Position, Reader, StoreUnavailable
from server.recent import FRESH_SECONDS, TailCache, TtlCache, reader_for
from server.store import Store
from server.timeline import Timeline
from tests.server.clock import Clock
from tests.server.conftest import Queries
from tests.server.writing import add
from tests.waiting import until


async def read(readers: Reader, limit: int, seen: int = 0) -> list[Message]:
    return (await readers.recent(limit, seen)).messages


class Held:
    """The real timeline, but its answers are held back until `let_go` is set."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.answered = asyncio.Event()
        self.let_go = asyncio.Event()

    async def recent(self, limit: int, seen: int = 0) -> Page:
        page = await self._timeline.recent(limit, seen)
        self.answered.set()
        await self.let_go.wait()
        return page

    def cached(self, limit: int, seen: int = 0) -> Page | None:
        return None

    def note_stored(self, message: Message) -> None:
        self._timeline.note_stored(message)


@pytest.fixture
def timeline(store: Store) -> Timeline:
    return Timeline(store)


# What every reader promises.


@asynccontextmanager
async def following(cache: TailCache) -> AsyncIterator[TailCache]:
    """The cache, filled and kept current while the block runs."""
    task = asyncio.create_task(cache.run())
    try:
        await asyncio.wait_for(cache.filled.wait(), 30)
        yield cache
    finally:
        await tasks.end(task)


@pytest_asyncio.fixture(params=["off", "ttl", "tail"])
async def any_reader(request: pytest.FixtureRequest, store: Store, timeline: Timeline) -> AsyncIterator[Reader]:
    readers = reader_for(request.param, store, timeline)
    async with AsyncExitStack() as stack:
        if isinstance(readers, TailCache):
            await stack.enter_async_context(following(readers))
        yield readers


@pytest.mark.asyncio
async def test_nothing_stored_is_nothing_read(any_reader: Reader) -> None:
    assert await read(any_reader, 5) == []


@pytest.mark.parametrize("limits", [(1, 3, 2, 10, 3), (10, 1), (2, 2)])
@pytest.mark.asyncio
async def test_the_newest_come_first_whatever_was_asked_before(
    any_reader: Reader, store: Store, limits: tuple[int, ...]
) -> None:
    stored = [(await add(store, f"number {number}"))[0] for number in range(5)]
    for message in stored:
        any_reader.note_stored(message)
    for limit in limits:
        assert await read(any_reader, limit) == stored[::-1][:limit]


@pytest.mark.asyncio
async def test_a_write_of_this_process_is_seen_at_once(any_reader: Reader, store: Store) -> None:
    for number in range(5):
        assert len(await read(any_reader, 10)) == number
        written = (await add(store, f"number {number}"))[0]
        any_reader.note_stored(written)
        assert await read(any_reader, 1) == [written]


@pytest.mark.asyncio
async def test_a_write_of_another_process_is_seen_by_who_knows_its_number(any_reader: Reader, other: Store) -> None:
    assert await read(any_reader, 5) == []
    written = (await add(other, "by another process"))[0]
    assert written.seq is not None
    assert await read(any_reader, 5, seen=written.seq) == [written]


@pytest.mark.asyncio
async def test_readers_at_the_same_moment_read_the_same(any_reader: Reader, store: Store) -> None:
    stored = (await add(store, "hello"))[0]
    any_reader.note_stored(stored)
    answers = await asyncio.gather(*(read(any_reader, 3) for _ in range(10)))
    assert answers == [[stored]] * 10


# What the cache of answers promises.


@pytest.mark.asyncio
async def test_without_the_cache_each_read_is_a_query(store: Store, timeline: Timeline, queries: Queries) -> None:
    uncached = reader_for("off", store, timeline)
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
    written = (await add(store, "by another process"))[0]  # which this cache is not told of
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
async def test_an_answer_is_as_old_as_its_query_whoever_joined_it_later(timeline: Timeline, queries: Queries) -> None:
    clock, held = Clock(), Held(timeline)
    cache = TtlCache(held, ttl=1.0, clock=clock)
    first = asyncio.create_task(read(cache, 5))
    await held.answered.wait()
    clock.time = 0.9
    second = asyncio.create_task(read(cache, 5))
    await asyncio.sleep(0)
    held.let_go.set()
    await asyncio.gather(first, second)
    clock.time = 1.0
    await read(cache, 5)
    assert len(queries()) == 2


@pytest.mark.asyncio
async def test_a_query_that_began_before_a_write_is_not_kept(timeline: Timeline, store: Store) -> None:
    held = Held(timeline)
    cache = TtlCache(held, clock=Clock())
    early = asyncio.create_task(read(cache, 5))
    await held.answered.wait()
    written = (await add(store, "meanwhile"))[0]
    cache.note_stored(written)
    held.let_go.set()
    assert await early == []
    assert await read(cache, 5) == [written]


@pytest.mark.asyncio
async def test_a_read_after_a_write_does_not_join_a_query_from_before_it(timeline: Timeline, store: Store) -> None:
    held = Held(timeline)
    cache = TtlCache(held, clock=Clock())
    early = asyncio.create_task(read(cache, 5))
    await held.answered.wait()
    written = (await add(store, "meanwhile"))[0]
    cache.note_stored(written)
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
    stored = (await add(store, "hello"))[0]
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
        async def recent(self, limit: int, seen: int = 0) -> Page:
            if not self.answered.is_set():
                self.answered.set()
                raise ConnectionError
            return await timeline.recent(limit, seen)

    cache = TtlCache(FailsOnce(timeline), clock=Clock())
    stored = (await add(store, "hello"))[0]
    answers = await asyncio.gather(*(read(cache, 5) for _ in range(2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError] * 2
    assert await read(cache, 5) == [stored]


# What the tail promises.


class Tampered:
    """The real store, but with a change stream that a test has its hands in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.deaf = False
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def changes(self) -> AsyncGenerator[Entry | None]:
        async for entry in self._store.changes():
            if self.cut:
                raise StoreUnavailable("cut by a test")
            yield None if self.deaf else entry


@pytest.fixture
def tampered(store: Store) -> Tampered:
    return Tampered(store)


@pytest_asyncio.fixture
async def other(mongodb_uri: str, migrated: Database) -> AsyncIterator[Store]:
    """The store of another process."""
    store = Store(mongodb_uri, migrated.name)
    yield store
    await store.close()


def texts(page: Page | None) -> list[str] | None:
    return None if page is None else [message.text for message in page.messages]


@pytest.mark.asyncio
async def test_the_tail_is_kept_current_by_others_without_being_read(
    store: Store, timeline: Timeline, other: Store
) -> None:
    async with following(TailCache(store, timeline)) as tail:
        for number in range(3):
            await add(other, f"number {number}")
        await until(lambda: texts(tail.cached(5)) == ["number 2", "number 1", "number 0"])


@pytest.mark.asyncio
async def test_reads_of_the_tail_are_no_queries(store: Store, timeline: Timeline, queries: Queries) -> None:
    async with following(TailCache(store, timeline)) as tail:
        tail.note_stored((await add(store, "mine"))[0])
        for _ in range(10):
            assert texts(await tail.recent(5)) == ["mine"]
    # What is there is asked for once, and then only whether there is more.
    assert [each["command"]["sort"] for each in queries() if each["command"].get("projection") is None] == [
        {"seq": -1, "created_at": -1, "_id": -1}
    ]


@pytest.mark.asyncio
async def test_a_page_is_the_same_object_until_something_changes(store: Store, timeline: Timeline) -> None:
    async with following(TailCache(store, timeline)) as tail:
        tail.note_stored((await add(store, "one"))[0])
        page = tail.cached(5)
        assert tail.cached(5) is page
        tail.note_stored((await add(store, "two"))[0])
        assert texts(page) == ["one"]
        assert texts(tail.cached(5)) == ["two", "one"]


@pytest.mark.asyncio
async def test_what_arrives_early_waits_for_what_is_missing_before_it(tampered: Tampered, other: Store) -> None:
    tampered.deaf = True
    async with following(TailCache(tampered, Timeline(tampered))) as tail:
        first, second, third = [(await add(other, f"number {number}"))[0] for number in range(3)]
        tail.arrived(third)
        tail.arrived(second)
        assert texts(tail.cached(5)) == []
        tail.arrived(first)
        assert texts(tail.cached(5)) == ["number 2", "number 1", "number 0"]


@pytest.mark.asyncio
async def test_a_void_number_is_passed_over(store: Store, timeline: Timeline, other: Store) -> None:
    async with following(TailCache(store, timeline)) as tail:
        await other.make_void([1, 2])
        await add(other, "skips none")
        await until(lambda: tail.cached(1) is not None and texts(tail.cached(1)) == ["skips none"])
        assert (await tail.recent(1)).up_to == 3


@pytest.mark.asyncio
async def test_a_number_that_stays_missing_is_made_void(store: Store, timeline: Timeline, migrated: Database) -> None:
    async with following(TailCache(store, timeline)) as tail:
        migrated.counters.update_one({"_id": "messages"}, {"$inc": {"seq": 1}}, upsert=True)  # whose writer died
        tail.note_stored((await add(store, "after it"))[0])
        await until(lambda: texts(tail.cached(1)) == ["after it"])


@pytest.mark.asyncio
async def test_what_the_stream_does_not_tell_is_fetched(tampered: Tampered, other: Store) -> None:
    async with following(TailCache(tampered, Timeline(tampered))) as tail:
        tampered.deaf = True
        await add(other, "not told of")
        await until(lambda: texts(tail.cached(5)) == ["not told of"])


@pytest.mark.asyncio
async def test_who_knows_of_a_message_waits_for_it_or_gets_it_from_the_database(
    tampered: Tampered, other: Store
) -> None:
    tampered.deaf = True
    async with following(TailCache(tampered, Timeline(tampered))) as tail:
        for number in range(3):
            message, _ = await add(other, f"number {number}")
            assert message.seq is not None
            assert texts(await tail.recent(1, seen=message.seq)) == [f"number {number}"]


@pytest.mark.asyncio
async def test_while_the_stream_is_cut_reads_go_to_the_database(tampered: Tampered, other: Store) -> None:
    async with following(TailCache(tampered, Timeline(tampered))) as tail:
        await add(other, "before")
        await until(lambda: texts(tail.cached(1)) == ["before"])
        tampered.cut = True
        await add(other, "meanwhile")
        await until(lambda: not tail.filled.is_set())
        await add(other, "after")
        assert tail.cached(1) is None
        assert texts(await tail.recent(3)) == ["after", "meanwhile", "before"]
        tampered.cut = False
        await until(lambda: texts(tail.cached(3)) == ["after", "meanwhile", "before"])


@pytest.mark.asyncio
async def test_what_was_not_confirmed_for_a_second_is_not_served(store: Store, timeline: Timeline) -> None:
    clock = Clock()
    async with following(TailCache(store, timeline, clock=clock)) as tail:
        assert texts(tail.cached(1)) == []
        clock.time = FRESH_SECONDS
        assert tail.cached(1) is None
        await until(lambda: texts(tail.cached(1)) == [])  # the next check confirms it


@pytest.mark.asyncio
async def test_the_tail_is_as_long_as_it_may_be(store: Store, timeline: Timeline) -> None:
    async with following(TailCache(store, timeline, size=3)) as tail:
        for number in range(5):
            tail.note_stored((await add(store, f"number {number}"))[0])
            assert texts(await tail.recent(10)) == [f"number {each}" for each in range(number, -1, -1)]
        page = tail.cached(3)
        assert texts(page) == ["number 4", "number 3", "number 2"]
        assert page is not None
        assert page.next == Position(before=3)
        assert tail.cached(4) is None


@pytest.mark.asyncio
async def test_what_has_no_number_yet_comes_from_the_database(
    store: Store, timeline: Timeline, migrated: Database
) -> None:
    migrated.messages.insert_one({"text": "old"})
    async with following(TailCache(store, timeline)) as tail:
        tail.note_stored((await add(store, "new"))[0])
        assert texts(tail.cached(1)) == ["new"]
        assert tail.cached(2) is None
        assert texts(await tail.recent(2)) == ["new", "old"]


@pytest.mark.asyncio
async def test_a_message_deleted_by_hand_disappears(store: Store, timeline: Timeline, migrated: Database) -> None:
    async with following(TailCache(store, timeline)) as tail:
        for text in ("stays", "goes"):
            tail.note_stored((await add(store, text))[0])
        migrated.messages.delete_one({"text": "goes"})
        await until(lambda: texts(tail.cached(5)) == ["stays"])


@pytest.mark.asyncio
async def test_reads_that_miss_the_tail_together_share_one_query(
    store: Store, timeline: Timeline, queries: Queries
) -> None:
    tail = TailCache(store, timeline)  # which nobody fills
    await asyncio.gather(*(tail.recent(5) for _ in range(50)))
    assert len(queries()) == 1
