"""The timeline turn by turn: which queries it makes, and what it shows of what they find, on a database in memory."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from server import tasks
from server.messages import MessageService, Position, StoreUnavailable, Void
from server.timeline import BATCH, GAP_SECONDS, WAIT_SECONDS, Timeline
from server.writer import Single
from tests.server.clock import Clock
from tests.server.memory import BEGIN, Memory, message, new, numbers, turns, unnumbered

pytestmark = pytest.mark.asyncio


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_timeline_begins_where_the_database_was_told(clock: Clock) -> None:
    memory = Memory()
    await memory.add([new()], 41)
    timeline = Timeline(memory, clock)
    await timeline.start()
    assert timeline.complete == 41


async def test_it_caches_nothing_and_takes_note_of_the_next_number_only(clock: Clock) -> None:
    timeline = Timeline(Memory(), clock)
    timeline.note_stored(message(2))
    timeline.note_stored(message(None))
    assert timeline.complete == 0
    timeline.note_stored(message(1))
    assert timeline.complete == 1
    assert timeline.cached(1, 0) is None


@pytest.mark.parametrize("fails", ["before", "numbers_after"])
async def test_after_an_outage_nobody_waits_for_missing_numbers(clock: Clock, fails: str) -> None:
    class Away(Memory):
        is_away = False

        async def _query(self, name: str, limit: int | None = None) -> None:
            if self.is_away and name == fails:
                raise StoreUnavailable("no primary")
            await super()._query(name, limit)

    memory = Away()
    timeline = Timeline(memory, clock)
    memory.store(message(1), message(3))
    await timeline.catch_up()
    assert timeline.complete == 1  # 2 may be on its way
    memory.is_away = True
    with pytest.raises(StoreUnavailable):
        await (timeline.recent(5) if fails == "before" else timeline.catch_up())
    memory.is_away = False
    assert numbers((await timeline.recent(5)).messages) == [3, 1]
    memory.store(message(5))
    assert numbers((await timeline.recent(5)).messages) == [3, 1]  # as young as ever


async def test_a_page_that_shows_all_that_is_missing_is_one_query(clock: Clock) -> None:
    memory = Memory(unnumbered(1))
    timeline = Timeline(memory, clock)
    memory.store(*map(message, range(1, 6)))
    for limit in (6, 5, 4, 1):
        memory.queries.clear()
        assert numbers((await timeline.recent(limit)).messages) == [5, 4, 3, 2, 1, None][:limit]
        assert memory.queries == ["before"]
    # What lies far above is asked for by its numbers, which cost less.
    memory.store(*map(message, range(6, 20)))
    memory.queries.clear()
    assert numbers((await timeline.recent(2)).messages) == [19, 18]
    assert memory.queries == ["before", "numbers_after", "before"]
    assert timeline.complete == 19


@pytest.mark.parametrize(("behind", "queries"), [(3, ["before"]), (4, ["before", "numbers_after", "before"])])
async def test_a_page_reaches_what_is_complete_or_the_numbers_are_asked_for(
    clock: Clock, behind: int, queries: list[str]
) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(*map(message, range(1, 11)))
    await timeline.catch_up()
    memory.store(*map(message, range(11, 11 + behind)))
    memory.queries.clear()
    page = await timeline.recent(2)
    assert (page.up_to, timeline.complete) == (10 + behind, 10 + behind)
    assert memory.queries == queries


async def look(timeline: Timeline, read: str) -> None:
    await (timeline.recent(9) if read == "recent" else timeline.catch_up())


@pytest.mark.parametrize("read", ["recent", "catch_up"])
async def test_a_gap_is_made_void_when_it_is_old_and_not_before(clock: Clock, read: str) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)

    memory.store(message(1), message(4), message(6))
    await look(timeline, read)
    clock.time = GAP_SECONDS - 0.001
    await look(timeline, read)
    assert set(memory.entries) == {1, 4, 6}
    clock.time = GAP_SECONDS
    await look(timeline, read)
    # All that was missing then: a second gap does not wait for as long again.
    assert {seq for seq, entry in memory.entries.items() if isinstance(entry, Void)} == {2, 3, 5}
    assert timeline.complete == 6
    memory.store(message(8))
    clock.time += GAP_SECONDS - 0.001  # the next gap is as young as it may be
    await look(timeline, read)
    assert 7 not in memory.entries
    clock.time += 0.001
    await look(timeline, read)
    assert timeline.complete == 8


@pytest.mark.parametrize("read", ["recent", "catch_up"])
async def test_who_has_not_looked_for_long_does_not_wait_for_missing_numbers(clock: Clock, read: str) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)

    await look(timeline, read)
    clock.time = 10.0
    memory.store(message(2), message(4), message(9))  # by another process; 9 may have been acknowledged 9 s ago
    await look(timeline, read)
    assert timeline.complete == 9


async def test_each_read_of_the_newest_messages_is_a_look(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    for clock.time in (0.4, 0.8):
        memory.store(message(1))
        await timeline.recent(9)
    memory.store(message(3))
    clock.time = 0.9
    await timeline.recent(9)
    assert 2 not in memory.entries  # it is missing for 0.1 s at most


async def test_what_was_missing_before_a_process_began_is_not_waited_for(clock: Clock) -> None:
    memory = Memory()
    memory.store(*map(message, range(1, 2 * BATCH)), message(2 * BATCH + 3))
    timeline = Timeline(memory, clock)
    await timeline.start()
    assert numbers((await timeline.recent(2)).messages) == [2 * BATCH + 3, 2 * BATCH - 1]
    memory.store(message(2 * BATCH + 5))
    await timeline.catch_up()
    assert timeline.complete == 2 * BATCH + 3  # this one may be on its way


async def test_who_knows_a_number_that_never_comes_is_not_kept_waiting_for_ever(clock: Clock) -> None:
    class Stubborn(Memory):
        """Makes nothing void."""

        async def make_void(self, numbers: Any) -> None:
            await asyncio.sleep(0)

        async def numbers_after(self, seq: int, limit: int) -> list[int]:
            asked.append(clock.time)
            clock.time += 0.2
            return await super().numbers_after(seq, limit)

    asked: list[float] = []
    memory = Stubborn()
    timeline = Timeline(memory, clock)
    timeline._overdue = lambda numbers: False  # type: ignore[method-assign]  # as if its writer were only slow
    memory.store(message(1), message(3))
    await timeline.catch_up(seen=3)
    assert timeline.complete == 1
    assert WAIT_SECONDS - 0.2 <= asked[-1] <= WAIT_SECONDS + 0.2
    asked.clear()
    await timeline.catch_up(seen=1)  # who has met only what is complete does not wait
    assert len(asked) == 1


async def test_many_numbers_are_asked_for_in_batches(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(*map(message, range(1, BATCH + 1)))
    await timeline.catch_up()
    assert memory.queries == ["numbers_after", "numbers_after"]
    memory.store(*map(message, range(BATCH + 1, 3 * BATCH)))
    memory.queries.clear()
    await timeline.catch_up()
    assert timeline.complete == 3 * BATCH - 1
    assert memory.queries == ["numbers_after"] * 2  # the second batch is not full, so it is the last


async def test_following_asks_once_where_nothing_is_void(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(message(1), message(2), Void(3), message(4), message(5))
    await timeline.catch_up()
    memory.queries.clear()
    page = await timeline.after(0, 2)
    assert (numbers(page.messages), page.next, page.up_to) == ([1, 2], None, 2)
    assert memory.queries == ["after"]
    page = await timeline.after(2, 2)
    assert (numbers(page.messages), page.up_to) == ([4, 5], 5)
    page = await timeline.after(5, 2)
    assert (page.messages, page.up_to) == ([], 5)
    page = await timeline.after(9, 2)  # of a worker that knows more
    assert (page.messages, page.up_to) == ([], 9)
    page = await timeline.after(0, 9, ceiling=5)
    assert (numbers(page.messages), page.up_to) == ([1, 2, 4], 4)


@pytest.mark.parametrize("later", [1, 2])
@pytest.mark.parametrize("read", ["since", "after"])
@pytest.mark.parametrize("passed", range(8))
async def test_what_is_stored_while_a_list_since_is_read_is_shown_by_it_or_by_the_next(
    clock: Clock, read: str, passed: int, later: int
) -> None:
    """A slow writer stores its message after so many turns of the read, perhaps below one that was stored before."""
    memory = Memory()
    timeline = Timeline(memory, clock)
    service = MessageService(memory, timeline, timeline, Single(memory))
    at = BEGIN + timedelta(seconds=5)
    messages = [message(seq, seconds=5) for seq in (1, 2)]
    memory.store(*messages[later:])
    reading = asyncio.create_task(service.since(at, 9) if read == "since" else service.after(0, 9, since=at))
    await turns(passed)
    memory.store(*messages[:later])
    for each in messages:
        timeline.note_stored(each)
    page = await reading
    assert numbers(page.messages) == sorted(range(1, page.up_to + 1), reverse=read == "since")


async def test_replies_are_paged_up_to_what_is_complete(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    parent = message(1)
    memory.store(parent, *(message(seq, reply_to=parent.id) for seq in (2, 3, 4, 6)))
    await timeline.catch_up()
    for after, limit, found, more in [(0, 2, [2, 3], 3), (3, 2, [4], None), (0, 3, [2, 3, 4], None)]:
        page = await timeline.replies(parent.id, after, limit)
        assert (numbers(page.messages), page.next, page.up_to) == (
            found, None if more is None else Position(before=more), 4,
        )  # fmt: skip


async def test_no_read_asks_for_more_than_it_needs_to_know_whether_there_is_more(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    assert (await timeline.recent(3)).messages == []
    assert memory.queries == ["before"]
    parent = message(1)
    memory.store(parent, *(message(seq, reply_to=parent.id) for seq in range(2, 6)))
    await timeline.catch_up()
    memory.store(message(6), message(7))  # which this timeline does not know of yet
    for read, limit in [
        (timeline.page(Position(), 2), 3),
        (timeline.page(Position(before=50), 2), 3),
        (timeline.page(Position(before=3), 1), 2),
        (timeline.after(0, 2), 2),
        (timeline.replies(parent.id, 0, 2), 3),
    ]:
        memory.queries.clear()
        memory.limits.clear()
        page = await read
        assert page.messages
        assert len(memory.queries) == 1
        assert memory.limits == [limit]
    memory.queries.clear()
    assert (await timeline.recent(9, seen=7)).up_to == 7  # the page itself shows number 7
    assert memory.queries == ["before"]


async def test_a_list_that_ends_above_a_gap_is_known_to_end(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(message(2), message(3))
    page = await timeline.recent(2)
    assert (page.messages, page.next, page.up_to) == ([], None, 0)
    assert memory.queries == ["before"]


async def test_void_numbers_are_passed_over_whatever_the_limit(clock: Clock) -> None:
    memory = Memory(unnumbered(1))
    timeline = Timeline(memory, clock)
    memory.store(message(1), Void(2), Void(3), *map(message, (4, 5, 6)), Void(7), message(8))
    await timeline.catch_up()
    for limit in range(1, 8):
        up, seq = [], 0
        while (page := await timeline.after(seq, limit)).messages:
            assert len(page.messages) <= limit
            up, seq = up + numbers(page.messages), page.up_to
        assert up == [1, 4, 5, 6, 8]
        page = await timeline.recent(limit)
        down = numbers(page.messages)
        while page.next is not None:
            assert len(page.messages) == limit
            page = await timeline.page(page.next, limit)
            down += numbers(page.messages)
        assert down == [8, 6, 5, 4, 1, None]


async def test_a_page_that_ends_at_a_number_with_a_fraction_is_not_the_last(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(*map(message, (1, 2, 3)))
    memory.entries |= {place: Void(None, "odd", place) for place in (2.25, 2.5, 3.5)}  # type: ignore[misc]
    await timeline.catch_up()
    for limit in (1, 2, 3):
        page = await timeline.recent(limit)
        down = numbers(page.messages)
        while page.next is not None:
            page = await timeline.page(page.next, limit)
            down += numbers(page.messages)
        assert down == [3, 2, 1]
        up, seq = [], 0
        while (page := await timeline.after(seq, limit)).messages:
            up, seq = up + numbers(page.messages), page.up_to
        assert (up, seq) == ([1, 2, 3], 3)


async def test_a_list_since_a_time_goes_on_with_messages_that_have_no_number(clock: Clock) -> None:
    memory = Memory(unnumbered(3))
    timeline = Timeline(memory, clock)
    memory.store(*map(message, (1, 2, 3)))
    service = MessageService(memory, timeline, timeline, Single(memory))
    page = await service.since(BEGIN - timedelta(days=1), 2)
    found = page.messages
    while page.next is not None:
        page = await service.older(page.next, 2)
        found = found + page.messages
    assert found == [*map(message, (3, 2, 1)), *memory.old]


async def test_a_page_asks_for_as_many_more_as_were_void(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(message(1), Void(2), Void(3), *map(message, (4, 5, 6)), Void(7), message(8))
    await timeline.catch_up()
    memory.limits.clear()
    assert numbers((await timeline.page(Position(), 2)).messages) == [8, 6]
    assert memory.limits == [3, 1]


async def test_old_messages_whose_numbers_count_down_from_zero_are_followed_too(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(*map(message, (-1, 0, 1, 2)))
    await timeline.catch_up()
    first = await timeline.after(-2, 2)
    assert (numbers(first.messages), first.up_to) == ([-1, 0], 0)
    assert numbers((await timeline.after(first.up_to, 2)).messages) == [1, 2]


async def test_who_has_met_nothing_does_not_wait_for_a_gap(clock: Clock) -> None:
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(message(2))
    await timeline.catch_up()
    assert memory.queries == ["numbers_after"]


async def test_who_waits_for_a_gap_does_not_ask_all_the_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.timeline.POLL_SECONDS", 1000.0)
    memory = Memory()
    timeline = Timeline(memory, clock)
    memory.store(message(2))
    waiting = asyncio.create_task(timeline.catch_up(seen=2))
    await turns(50)
    assert memory.queries == ["numbers_after"]
    await tasks.end(waiting)
