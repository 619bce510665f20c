"""The caches turn by turn: what arrives when is the test's to say, on a database and a change stream in memory."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from server import recent, tasks
from server.messages import Entry, Page, Position, StoreUnavailable, Void
from server.phases import DATABASE, Phase, start
from server.recent import FRESH_SECONDS, TailCache, TtlCache, reader_for
from server.timeline import Timeline
from tests.server.clock import Clock
from tests.server.memory import Memory, message, numbers, turns, unnumbered
from tests.waiting import until

pytestmark = pytest.mark.asyncio


class Streamed(Memory):
    """A database whose change stream gives what a test puts into `news`: an entry, None, or why it ends."""

    def __init__(self, *args: Sequence[object]) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.news: asyncio.Queue[Entry | Exception | None] = asyncio.Queue()
        self.streams = 0
        self.is_away = False

    async def _query(self, name: str, limit: int | None = None) -> None:
        await super()._query(name, limit)
        if self.is_away:
            raise StoreUnavailable("away")

    async def changes(self) -> AsyncGenerator[Entry | None]:
        self.streams += 1
        yield None
        while True:
            news = await self.news.get()
            if isinstance(news, Exception):
                raise news
            yield news


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> Streamed:
    return Streamed()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tail does again and again, it does at once."""
    for name in ("CHECK_SECONDS", "PATIENCE_SECONDS", "RESTART_SECONDS"):
        monkeypatch.setattr(recent, name, 0.01)


@pytest.fixture
def never_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tail is filled and not checked: only what arrives changes it."""
    monkeypatch.setattr(recent, "CHECK_SECONDS", 1000.0)


@asynccontextmanager
async def running(tail: TailCache) -> AsyncIterator[TailCache]:
    """The tail, filled."""
    task = asyncio.create_task(tail.run())
    try:
        await tail.warm_up()
        assert tail.filled.is_set()
        yield tail
    finally:
        await tasks.end(task)


def shown(page: Page | None) -> list[int | None] | None:
    return None if page is None else numbers(page.messages)


# One page for some time.


async def test_the_setting_names_the_reader(memory: Memory) -> None:
    timeline = Timeline(memory)
    assert isinstance(reader_for("tail", memory, timeline), TailCache)
    assert isinstance(reader_for("ttl", memory, timeline), TtlCache)
    assert reader_for("off", memory, timeline) is timeline


async def test_the_largest_page_is_cached_until_its_time_is_over(memory: Memory, clock: Clock) -> None:
    cache = TtlCache(Timeline(memory, clock), ttl=10.0, clock=clock)
    memory.store(*map(message, range(1, 6)))
    assert cache.cached(1) is None
    assert shown(await cache.recent(3)) == [5, 4, 3]
    memory.queries.clear()
    assert await cache.recent(3) is cache.cached(3) is not None
    assert memory.queries == []
    clock.time = 9.0
    assert (shown(cache.cached(3)), shown(cache.cached(2)), cache.cached(4)) == ([5, 4, 3], [5, 4], None)
    assert (shown(cache.cached(3, seen=5)), cache.cached(3, seen=6)) == ([5, 4, 3], None)
    assert shown(await cache.recent(4)) == [5, 4, 3, 2]
    clock.time = 10.0  # the first page's time is over, the second's is not
    assert shown(cache.cached(4)) == [5, 4, 3, 2]
    clock.time = 19.0
    assert cache.cached(1) is None


@pytest.mark.parametrize("setting", ["ttl", "tail"])
@pytest.mark.usefixtures("never_checks")
async def test_nothing_that_is_served_is_older_than_a_second(memory: Streamed, clock: Clock, setting: str) -> None:
    clock.time = 100.0
    timeline = Timeline(memory, clock)
    reader = TtlCache(timeline, clock=clock) if setting == "ttl" else TailCache(memory, timeline, clock=clock)
    task = asyncio.create_task(reader.run())
    await reader.warm_up()
    assert shown(await reader.recent(1)) == []
    assert memory.queries == ["before"]  # there is nothing, and who has met nothing asks no further
    clock.time = 100.999
    assert shown(reader.cached(1)) == []
    clock.time = 101.0
    assert reader.cached(1) is None
    await tasks.end(task)


async def test_a_newer_page_of_the_same_length_takes_the_place_of_the_older_one(memory: Memory, clock: Clock) -> None:
    cache = TtlCache(Timeline(memory, clock), ttl=10.0, clock=clock)
    memory.store(message(1))
    await cache.recent(2)
    memory.store(message(2))
    assert shown(await cache.recent(2, seen=2)) == shown(cache.cached(2)) == [2, 1]


async def test_a_smaller_page_takes_the_place_of_one_whose_time_is_over(memory: Memory, clock: Clock) -> None:
    cache = TtlCache(Timeline(memory, clock), ttl=10.0, clock=clock)
    memory.store(*map(message, range(1, 6)))
    await cache.recent(4)
    memory.store(message(6))
    clock.time = 1.0
    assert shown(await cache.recent(2, seen=6)) == [6, 5]
    assert shown(cache.cached(4)) == [5, 4, 3, 2]  # it is larger, and its time is not over
    clock.time = 10.0
    assert shown(await cache.recent(2)) == [6, 5]
    assert (shown(cache.cached(2)), cache.cached(3)) == ([6, 5], None)


async def test_who_has_met_more_than_the_shared_query_gets_a_query_of_its_own(clock: Clock) -> None:
    class Slow(Memory):
        """Looks before anybody stores something more, and takes its time."""

        async def before(self, position: Position, limit: int) -> list[Entry]:
            found = await super().before(position, limit)
            clock.time += 1.0
            self.store(message(1))
            return found

    cache = TtlCache(Timeline(Slow(), clock), ttl=10.0, clock=clock)
    assert shown(await cache.recent(1, seen=1)) == [1]
    clock.time = 10.9  # the second query began at 1
    assert shown(cache.cached(1)) == [1]
    clock.time = 11.0
    assert cache.cached(1) is None


async def test_nobody_joins_a_query_that_is_older_than_what_is_served_may_be(clock: Clock) -> None:
    class Hangs(Memory):
        """The first query looks at once, and is answered late."""

        def __init__(self) -> None:
            super().__init__()
            self.may = asyncio.Event()

        async def before(self, position: Position, limit: int) -> list[Entry]:
            found = await super().before(position, limit)
            if not self.entries:
                await self.may.wait()
            return found

    memory = Hangs()
    cache = TtlCache(Timeline(memory, clock), clock=clock)
    early = asyncio.create_task(cache.recent(1))
    await turns(10)
    memory.store(message(1))
    clock.time = 0.9
    joins = asyncio.create_task(cache.recent(1))
    await turns(3)
    clock.time = 1.0
    assert shown(await cache.recent(1)) == [1]
    memory.may.set()
    assert [shown(await early), shown(await joins)] == [[], []]


async def test_a_write_empties_the_cache_and_what_was_asked_before_it_is_not_kept(memory: Memory, clock: Clock) -> None:
    timeline = Timeline(memory, clock)
    cache = TtlCache(timeline, clock=clock)
    await cache.recent(3)
    asking = asyncio.create_task(cache.recent(5))
    await turns(2)
    memory.store(message(1))
    cache.note_stored(message(1))
    assert cache.cached(1) is None
    assert timeline.complete == 1
    await asking
    assert cache.cached(1) is None


async def test_nothing_has_to_be_filled_or_run(memory: Memory) -> None:
    for reader in (Timeline(memory), TtlCache(Timeline(memory))):
        await asyncio.wait_for(reader.warm_up(), 5)
        await asyncio.wait_for(reader.run(), 5)
    assert memory.queries == []


@pytest.mark.parametrize("cache", ["ttl", "tail"])
async def test_reads_at_once_are_one_query_whose_time_is_counted_to_each(cache: str) -> None:
    class Timed(Memory):
        async def before(self, position: Position, limit: int) -> list[Entry]:
            with Phase(DATABASE):
                return await super().before(position, limit)

    memory = Timed([message(1), message(2), message(3)])
    reader = reader_for(cache, memory, Timeline(memory))

    async def timed() -> float:
        phases = start()
        await reader.recent(3, 0)
        return phases.so_far()[DATABASE]

    assert all(each > 0 for each in await asyncio.gather(*(timed() for _ in range(5))))
    assert memory.queries == ["before"]
    await reader.recent(3, 0)
    assert len(memory.queries) == (2 if cache == "tail" else 1)  # an unfilled tail keeps nothing


@pytest.mark.parametrize("cache", ["ttl", "tail"])
async def test_a_read_after_a_write_does_not_join_a_query_from_before_it(cache: str) -> None:
    class Held(Memory):
        """Its queries have taken effect, and are not answered yet."""

        async def before(self, position: Position, limit: int) -> list[Entry]:
            found = await super().before(position, limit)
            await may.wait()
            return found

    may, memory = asyncio.Event(), Held()
    timeline = Timeline(memory)
    reader = reader_for(cache, memory, timeline)
    early = asyncio.create_task(reader.recent(5, 0))
    await turns(5)
    assert memory.queries == ["before"]
    memory.store(message(1))
    reader.note_stored(message(1))
    assert timeline.complete == 1
    late = asyncio.create_task(reader.recent(5, 0))
    await turns(5)
    may.set()
    assert (shown(await early), shown(await late)) == ([], [1])


# The tail.


@pytest.mark.usefixtures("never_checks")
@pytest.mark.parametrize("stored", [0, 2, 3, 5])
async def test_pages_of_the_tail_are_those_of_the_timeline(memory: Streamed, clock: Clock, stored: int) -> None:
    memory.store(*map(message, range(1, stored + 1)))
    async with running(TailCache(memory, Timeline(memory, clock), size=3, clock=clock)) as tail:
        for limit in (1, 2, 3, 4, 2):
            cached = tail.cached(limit)
            assert cached == (await Timeline(memory, clock).recent(limit) if limit <= 3 or stored <= 3 else None)
            assert tail.cached(limit) is cached
        for seq in range(stored + 1, stored + 4):
            memory.store(message(seq))
            tail.note_stored(message(seq))
            for limit in (1, 2, 3, 4):
                expected = await Timeline(memory, clock).recent(limit)
                assert tail.cached(limit) == (expected if limit <= 3 or seq <= 3 else None)


@pytest.mark.usefixtures("never_checks")
async def test_what_has_no_number_is_not_in_the_tail(memory: Streamed, clock: Clock) -> None:
    memory.old = unnumbered(2)
    memory.store(message(1))
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        assert tail.cached(1) == Page([message(1)], Position(before=1), 1)
        assert tail.cached(2) is None
        tail.arrived(message(None))
        assert tail.cached(2) is None
        assert shown(await tail.recent(3)) == [1, None, None]


@pytest.mark.usefixtures("never_checks")
async def test_entries_take_their_places_in_whatever_order_they_arrive(memory: Streamed, clock: Clock) -> None:
    memory.store(message(1))
    timeline = Timeline(memory, clock)
    async with running(TailCache(memory, timeline, clock=clock)) as tail:
        page = tail.cached(9)
        for entry, complete, expected in [
            (message(4), 1, [1]),
            (message(1), 1, [1]),  # which is there already
            (Void(3), 1, [1]),
            (message(2), 4, [4, 2, 1]),
            (message(4), 4, [4, 2, 1]),
            (Void(5), 5, [4, 2, 1]),
        ]:
            tail.arrived(entry)
            found = tail.cached(9)
            assert found is not None
            assert (shown(found), found.up_to, timeline.complete) == (expected, complete, complete)
            assert (found is page) == (complete == 1)
        assert tail._early == {}


@pytest.mark.usefixtures("never_checks")
async def test_what_arrives_while_the_tail_is_filled_is_not_lost(clock: Clock) -> None:
    class Slow(Streamed):
        async def before(self, position: Position, limit: int) -> list[Entry]:
            found = await super().before(position, limit)
            await may.wait()
            return found

    may = asyncio.Event()
    memory = Slow()
    memory.store(message(1))
    tail = TailCache(memory, Timeline(memory, clock), clock=clock)
    task = asyncio.create_task(tail.run())
    await until(lambda: memory.queries == ["before"])
    await turns(2)
    for seq in (2, 1):
        memory.store(message(seq))
        memory.news.put_nowait(message(seq))
    await until(memory.news.empty)
    assert tail.cached(1) is None
    may.set()
    await tail.warm_up()
    assert shown(tail.cached(9)) == [2, 1]
    assert tail._early == {}
    await tasks.end(task)


@pytest.mark.usefixtures("never_checks")
async def test_the_tail_is_served_for_as_long_as_it_is_confirmed(memory: Streamed, clock: Clock) -> None:
    clock.time = 100.0
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        clock.time += FRESH_SECONDS - 0.001
        assert shown(tail.cached(1)) == []
        clock.time += 0.001
        assert tail.cached(1) is None
        memory.queries.clear()
        assert shown(await tail.recent(1)) == []
        assert memory.queries == ["before"]


async def test_a_check_confirms_the_tail_as_of_when_it_began(memory: Streamed, clock: Clock) -> None:
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        clock.time = 50.0
        assert tail.cached(1) is None
        await until(lambda: tail.cached(1) is not None)


async def test_a_check_fetches_what_the_stream_did_not_deliver(memory: Streamed, clock: Clock) -> None:
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        memory.store(message(1), Void(2), message(3))
        await until(lambda: shown(tail.cached(9)) == [3, 1])


@pytest.mark.usefixtures("never_checks")
async def test_who_has_met_a_message_waits_for_it_to_arrive_and_asks_nobody(
    memory: Streamed, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "PATIENCE_SECONDS", 30.0)
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        memory.store(message(1), message(2))
        memory.queries.clear()
        reading = asyncio.create_task(tail.recent(9, seen=2))
        for seq in (1, 2):
            await turns(3)
            assert not reading.done()
            memory.news.put_nowait(message(seq))
        assert shown(await reading) == [2, 1]
        assert memory.queries == []


@pytest.mark.usefixtures("never_checks")
async def test_what_does_not_arrive_is_read_from_the_database(memory: Streamed, clock: Clock) -> None:
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        memory.store(message(1), message(3))
        memory.queries.clear()
        reading = asyncio.create_task(tail.recent(9, seen=3))
        await until(lambda: "numbers_after" in memory.queries)  # the shared query did not show 3, so its own waits
        memory.store(message(2))
        assert shown(await reading) == [3, 2, 1]


async def test_while_the_tail_is_not_served_nobody_waits_for_it(
    memory: Streamed, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "PATIENCE_SECONDS", 1000.0)
    tail = TailCache(memory, Timeline(memory, clock), clock=clock)
    memory.store(message(1))
    assert shown(await asyncio.wait_for(tail.recent(1, seen=1), 5)) == [1]
    assert memory.queries == ["before"]


@pytest.mark.usefixtures("never_checks")
@pytest.mark.parametrize("end", [StoreUnavailable("cut"), ValueError("a bug")])
async def test_a_stream_that_ends_is_begun_anew_and_the_tail_filled_again(
    memory: Streamed, clock: Clock, end: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        assert shown(tail.cached(9)) == []
        memory.store(message(1), message(2), message(3))  # of which the stream tells nothing
        tail.arrived(message(2))
        memory.news.put_nowait(end)
        await until(lambda: not tail.filled.is_set())
        assert tail.cached(1) is None
        assert tail._early == {}
        await until(lambda: shown(tail.cached(9)) == [3, 2, 1])
    assert memory.streams == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"the newest messages are read from the database for now: {end}"
    ]


async def test_when_a_stream_has_ended_nothing_goes_on_until_it_is_begun_anew(
    memory: Streamed, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "RESTART_SECONDS", 1000.0)
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        memory.news.put_nowait(StoreUnavailable("cut"))
        await until(lambda: not tail.filled.is_set())
        await turns(50)
        assert memory.streams == 1
        assert len(asyncio.all_tasks()) == 2  # this test, and the tail that waits


async def test_a_check_that_fails_ends_the_stream(
    memory: Streamed, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(TailCache(memory, Timeline(memory, clock), clock=clock)) as tail:
        memory.is_away = True
        await until(lambda: memory.news.put_nowait(None) or not tail.filled.is_set())
        memory.is_away = False
        await until(tail.filled.is_set)
    assert "away" in caplog.text


async def test_warming_up_has_an_end(memory: Streamed, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "WARM_UP_SECONDS", 0.01)
    tail = TailCache(memory, Timeline(memory, clock), clock=clock)  # which nobody runs
    await asyncio.wait_for(tail.warm_up(), 5)
    assert not tail.filled.is_set()
