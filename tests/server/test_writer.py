"""How messages get into the store: one commit for each, or one for all that came together."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from harness.ports import free_port
from migrations.runner import Database
from server.messages import KeyReused, Message, NewMessage, StoreUnavailable, Write, Writer
from server.store import Store
from server.writer import MAX_MESSAGES, GroupCommit, Single, writer_for

Commits = Callable[[], list[int]]


def new(text: str, dedupe: str | None = None) -> Write:
    return Write(NewMessage(text=text), "api", dedupe)


@pytest.fixture
def commits(migrated: Database) -> Commits:
    """Gives the number of messages in each commit since, as MongoDB's profiler saw them."""
    migrated.command("profile", 2)
    inserts = {"op": "insert", "ns": f"{migrated.name}.messages"}
    return lambda: [each["ninserted"] for each in migrated["system.profile"].find(inserts)]


@pytest.fixture(params=["single", "grouped"])
def any_writer(request: pytest.FixtureRequest, store: Store) -> Writer:
    return writer_for(request.param, store)


@pytest.mark.asyncio
async def test_what_is_written_is_stored_once_under_a_number_of_its_own(any_writer: Writer, migrated: Database) -> None:
    results = await asyncio.gather(*(any_writer.add(new(f"number {each}"), 0) for each in range(100)))
    assert [message.text for message, _ in results] == [f"number {each}" for each in range(100)]
    assert sorted(message.seq or 0 for message, _ in results) == list(range(1, 101))
    assert migrated.messages.count_documents({}) == 100
    assert any_writer.waiting == 0


@pytest.mark.asyncio
async def test_equal_keys_that_come_together_store_one_message(any_writer: Writer, migrated: Database) -> None:
    results = await asyncio.gather(*(any_writer.add(new("once", "key"), 0) for _ in range(20)))
    assert len({message.id for message, _ in results}) == 1
    assert [replayed for _, replayed in results].count(False) == 1
    assert migrated.messages.count_documents({"void": None}) == 1


@pytest.mark.asyncio
async def test_an_error_belongs_to_its_own_caller(any_writer: Writer, migrated: Database) -> None:
    await any_writer.add(new("first", "key"), 0)
    writes = [new("a"), new("other text", "key"), new("b"), new("first", "key")]
    results = await asyncio.gather(*(any_writer.add(each, 0) for each in writes), return_exceptions=True)
    assert [type(each) for each in results] == [tuple, KeyReused, tuple, tuple]
    assert sorted(each["text"] for each in migrated.messages.find({"void": None})) == ["a", "b", "first"]
    # The numbers of those that were not stored hold up nobody.
    assert sorted(each["seq"] for each in migrated.messages.find()) == [1, 2, 3, 4, 5]


@pytest.mark.asyncio
async def test_a_database_that_refuses_a_message_refuses_only_that_one(any_writer: Writer, migrated: Database) -> None:
    migrated.command("collMod", "messages", validator={"text": {"$ne": "refused"}})
    results = await asyncio.gather(
        *(any_writer.add(new(text), 0) for text in ("a", "refused", "b")), return_exceptions=True
    )
    assert [isinstance(each, Exception) for each in results] == [False, True, False]


@pytest.mark.asyncio
async def test_who_is_too_slow_for_its_number_takes_another(any_writer: Writer, store: Store) -> None:
    await store.make_void([2, 3])
    results = await asyncio.gather(*(any_writer.add(new(f"number {each}"), 0) for each in range(4)))
    numbers = [message.seq or 0 for message, _ in results]
    assert len(set(numbers)) == 4
    assert not {2, 3} & set(numbers)


@pytest.mark.parametrize("kind", [Single, GroupCommit])
@pytest.mark.asyncio
async def test_when_the_database_is_away_all_who_wait_are_told(kind: type[Single] | type[GroupCommit]) -> None:
    away = Store(f"mongodb://127.0.0.1:{free_port()}/?timeoutMS=100", "test")
    try:
        waiting = [kind(away).add(new("x"), 0) for _ in range(10)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in results} == {StoreUnavailable}
    finally:
        await away.close()


# Group commit.


@pytest.mark.asyncio
async def test_what_comes_together_is_one_commit(store: Store, commits: Commits) -> None:
    grouped = GroupCommit(store)
    await asyncio.gather(*(grouped.add(new(f"number {each}"), 0) for each in range(50)))
    assert commits() == [50]
    await grouped.add(new("alone"), 0)
    assert commits() == [50, 1]


class Held:
    """The real store, but its commits wait until `let_go` is set."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.began = asyncio.Event()
        self.let_go = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def add(self, writes: list[Write], known_complete: int) -> object:
        self.began.set()
        await self.let_go.wait()
        return await self._store.add(writes, known_complete)


@pytest.mark.asyncio
async def test_what_comes_while_a_commit_is_on_its_way_is_the_next_one(store: Store, commits: Commits) -> None:
    held = Held(store)
    grouped = GroupCommit(held)
    first = asyncio.create_task(grouped.add(new("first"), 0))
    await held.began.wait()
    others = [asyncio.create_task(grouped.add(new(f"number {each}"), 0)) for each in range(30)]
    await asyncio.sleep(0)
    assert grouped.waiting == 31
    held.let_go.set()
    await asyncio.gather(first, *others)
    assert commits() == [1, 30]


async def one_in_each_turn(grouped: GroupCommit, count: int) -> None:
    """Write `count` messages, each a turn of the event loop after the one before."""
    writes = []
    for number in range(count):
        writes.append(asyncio.create_task(grouped.add(new(f"number {number}"), 0)))
        await asyncio.sleep(0)
    await asyncio.gather(*writes)


@pytest.mark.asyncio
async def test_who_comes_close_behind_another_is_in_the_same_commit(store: Store, commits: Commits) -> None:
    await one_in_each_turn(GroupCommit(store, clock=lambda: 0.0), 10)
    assert commits() == [10]


@pytest.mark.asyncio
async def test_nobody_is_waited_for_longer_than_a_commit_takes(store: Store, commits: Commits) -> None:
    a_second_at_a_time = itertools.count().__next__
    await one_in_each_turn(GroupCommit(store, clock=a_second_at_a_time), 10)
    first, second = commits()
    assert first in {1, 2}  # no commit was made yet, so nobody is waited for
    assert first + second == 10


@pytest.mark.asyncio
async def test_a_commit_is_bounded(store: Store, commits: Commits) -> None:
    grouped = GroupCommit(store)
    await asyncio.gather(*(grouped.add(new(f"number {each}"), 0) for each in range(MAX_MESSAGES + 100)))
    assert commits() == [MAX_MESSAGES, 100]


@pytest.mark.asyncio
async def test_a_commit_is_bounded_in_size_too(store: Store, commits: Commits) -> None:
    grouped = GroupCommit(store)
    await asyncio.gather(*(grouped.add(new("x" * 4000), 0) for _ in range(300)))
    assert commits() == [250, 50]


@pytest.mark.asyncio
async def test_a_caller_who_goes_away_harms_nobody(store: Store, migrated: Database) -> None:
    held = Held(store)
    grouped = GroupCommit(held)
    callers = [asyncio.create_task(grouped.add(new(f"number {each}"), 0)) for each in range(3)]
    await held.began.wait()
    callers[1].cancel()
    held.let_go.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(each) for each in results] == [tuple, asyncio.CancelledError, tuple]
    assert migrated.messages.count_documents({}) == 3  # it may have been on its way already
    assert grouped.waiting == 0


@pytest.mark.asyncio
async def test_numbers_follow_the_order_in_which_messages_came(store: Store) -> None:
    grouped = GroupCommit(store)
    results = await asyncio.gather(*(grouped.add(new(f"number {each}"), 0) for each in range(20)))
    messages: list[Message] = [message for message, _ in results]
    assert [message.seq for message in messages] == list(range(1, 21))
