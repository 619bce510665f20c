"""The writers turn by turn: what comes when is the test's to say, on a database in memory."""

import asyncio
from collections.abc import Sequence

import pytest

from server.messages import Outcome, StoreUnavailable, Write
from server.phases import DATABASE, QUEUE, Phase, start
from server.writer import MAX_CHARACTERS, MAX_MESSAGES, GroupCommit, Single, writer_for
from tests.server.clock import Clock
from tests.server.memory import Memory, message, new, turns

pytestmark = pytest.mark.asyncio


class Commits(Memory):
    """Notes each commit, and lets it end when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[str]] = []
        self.told: list[int] = []
        self.may = asyncio.Event()
        self.may.set()

    async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
        self.commits.append([each.new.text for each in writes])
        self.told.append(known_complete)
        await self.may.wait()
        return await super().add(writes, known_complete)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("kind", [Single, GroupCommit])
async def test_a_writer_counts_those_who_wait(kind: type[Single] | type[GroupCommit]) -> None:
    memory = Commits()
    writer = kind(memory)
    memory.may.clear()
    adding = [asyncio.create_task(writer.add(new(), 0)) for _ in range(3)]
    await turns(3)
    assert writer.waiting == 3
    memory.may.set()
    await asyncio.gather(*adding)
    assert writer.waiting == 0


async def test_the_setting_names_the_writer() -> None:
    assert isinstance(writer_for("grouped", Memory()), GroupCommit)
    assert isinstance(writer_for("single", Memory()), Single)


@pytest.mark.parametrize("kind", [Single, GroupCommit])
async def test_what_is_known_to_be_complete_is_told_with_a_commit(kind: type[Single] | type[GroupCommit]) -> None:
    memory = Commits()
    writer = kind(memory)
    await writer.add(new(), 0)
    assert memory.told == [0]
    await asyncio.gather(writer.add(new(), 5), writer.add(new(), 7), writer.add(new(), 6))
    assert max(memory.told) == 7


@pytest.mark.parametrize("kind", [Single, GroupCommit])
async def test_a_caller_gets_its_message_and_whether_it_was_there_before(
    kind: type[Single] | type[GroupCommit],
) -> None:
    class Replays(Memory):
        async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
            return [(message(number, each.new.text), number > 1) for number, each in enumerate(writes, start=1)]

    writer = kind(Replays())
    assert await writer.add(new("hello"), 0) == (message(1, "hello"), False)


async def test_when_a_commit_fails_all_who_wait_for_it_are_told_and_the_next_one_is_made() -> None:
    class FailsOnce(Commits):
        async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
            if not self.commits:
                self.commits.append([])
                raise StoreUnavailable("away")
            return await super().add(writes, known_complete)

    writer = GroupCommit(FailsOnce())
    results = await asyncio.gather(*(writer.add(new(), 0) for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in results] == ["away"] * 3
    found, _ = await writer.add(new("afterwards"), 0)
    assert (found.text, writer.waiting) == ("afterwards", 0)


async def test_before_the_first_commit_nobody_is_waited_for_for_any_time(clock: Clock) -> None:
    memory = Commits()
    writer = GroupCommit(memory, clock)
    adding = []
    for _ in range(10):
        adding.append(asyncio.create_task(writer.add(new(), 0)))
        await turns()
        clock.time += 0.5
    await asyncio.gather(*adding)
    assert len(memory.commits[0]) in {1, 2}


async def test_an_idle_writer_commits_again(clock: Clock) -> None:
    memory = Commits()
    writer = GroupCommit(memory, clock)
    for text in ("one", "two"):
        await writer.add(new(text), 0)
        await turns()
    assert memory.commits == [["one"], ["two"]]


@pytest.mark.parametrize("took", [0.0, 1.0, 5.0])
async def test_stragglers_are_waited_for_no_longer_than_the_last_commit_took(clock: Clock, took: float) -> None:
    """One write comes in each turn, each a second after the one before."""
    memory = Commits()
    writer = GroupCommit(memory, clock)
    clock.time = 1000.0
    memory.may.clear()
    first = asyncio.create_task(writer.add(new("first"), 0))
    await turns(4)
    clock.time += took
    memory.may.set()
    await first
    adding = []
    for _ in range(20):
        adding.append(asyncio.create_task(writer.add(new(), 0)))
        await turns()
        clock.time += 1.0
    await asyncio.gather(*adding)
    # In the turn in which each came no time has passed yet, so one more comes than there are seconds.
    assert len(memory.commits[1]) in (int(took) + 1, int(took) + 2)


async def test_a_straggler_is_waited_for_in_the_turn_that_ends_on_time(clock: Clock) -> None:
    memory = Commits()
    writer = GroupCommit(memory, clock)
    await asyncio.gather(writer.add(new(), 0), writer.add(new(), 0))
    adding = []
    for _ in range(5):  # no time passes at all, and that is not longer than no time
        adding.append(asyncio.create_task(writer.add(new(), 0)))
        await turns()
    await asyncio.gather(*adding)
    assert [len(each) for each in memory.commits] == [2, 5]


@pytest.mark.parametrize(
    ("texts", "commits"),
    [
        (["x"] * MAX_MESSAGES, [MAX_MESSAGES]),
        (["x"] * (MAX_MESSAGES + 1), [MAX_MESSAGES, 1]),
        (["x" * 4000] * (MAX_CHARACTERS // 4000), [MAX_CHARACTERS // 4000]),
        (["x" * 4000] * (MAX_CHARACTERS // 4000) + ["x"], [MAX_CHARACTERS // 4000, 1]),
    ],
)
async def test_batches_are_bounded_in_messages_and_in_characters(texts: list[str], commits: list[int]) -> None:
    memory = Commits()
    writer = GroupCommit(memory)
    await asyncio.gather(*(writer.add(new(each), 0) for each in texts))
    assert [len(each) for each in memory.commits] == commits


async def test_a_message_that_is_longer_than_a_batch_is_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.writer.MAX_CHARACTERS", 3)
    memory = Commits()
    writer = GroupCommit(memory)
    await asyncio.gather(*(writer.add(new(each), 0) for each in ("long", "a", "b", "cc")))
    assert memory.commits == [["long"], ["a", "b"], ["cc"]]


async def test_a_write_does_not_wait_longer_than_an_operation_may_take_and_is_not_stored_afterwards() -> None:
    memory = Commits()
    writer = GroupCommit(memory, seconds=0.05)
    memory.may.clear()
    first = asyncio.create_task(writer.add(new("first"), 0))
    await turns(3)
    with pytest.raises(StoreUnavailable, match=r"within 0\.05 s"):
        await writer.add(new("behind it"), 0)
    with pytest.raises(StoreUnavailable, match=r"within 0\.05 s"):
        await first
    memory.may.set()
    await writer.add(new("later"), 0)
    assert memory.commits == [["first"], ["later"]]
    assert writer.waiting == 0


async def test_those_who_have_gone_are_no_batch() -> None:
    memory = Commits()
    writer = GroupCommit(memory)
    memory.may.clear()
    first = asyncio.create_task(writer.add(new("first"), 0))
    await turns(3)
    gone = asyncio.create_task(writer.add(new("gone"), 0))
    await turns(3)
    gone.cancel()
    memory.may.set()
    await first
    await turns(3)
    assert memory.commits == [["first"]]
    await writer.add(new("later"), 0)
    assert memory.commits == [["first"], ["later"]]


@pytest.mark.parametrize("kind", [Single, GroupCommit])
async def test_an_outcome_that_is_an_error_is_raised(kind: type[Single] | type[GroupCommit]) -> None:
    class Refuses(Memory):
        async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
            return [ValueError("no")] * len(writes)

    writer = kind(Refuses())
    with pytest.raises(ValueError, match="no"):
        await writer.add(new(), 0)
    assert writer.waiting == 0


async def test_a_commit_is_charged_to_each_who_waits_for_it_and_the_queue_before_it_too(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.perf_counter", clock)

    class Timed(Commits):
        async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
            with Phase(DATABASE):
                outcomes = await super().add(writes, known_complete)
                clock.time += 4
                return outcomes

    memory = Timed()
    writer = GroupCommit(memory)
    memory.may.clear()

    async def timed() -> dict[str, float]:
        phases = start()
        await writer.add(new(), 0)
        return phases.so_far()

    first = [asyncio.create_task(timed()) for _ in range(3)]
    await turns(3)
    clock.time += 1
    later = asyncio.create_task(timed())
    await turns(3)
    clock.time += 2
    memory.may.set()
    assert await asyncio.gather(*first) == [{QUEUE: 0, DATABASE: 7}] * 3
    assert await later == {QUEUE: 6, DATABASE: 4}
