"""Numbers and times keep one order when the primary changes between the two commands of a write."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_asyncio

from harness.members import ReplicaSet, replica_set
from server.messages import Position, StoreUnavailable
from server.store import Store
from tests.server.writing import add

pytestmark = pytest.mark.asyncio

# An election takes longer than the service waits, and nobody asks again here.
PATIENT = "&serverSelectionTimeoutMS=30000&timeoutMS=60000"


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    with replica_set(tmp_path_factory.mktemp("members")) as members:
        yield members


@pytest_asyncio.fixture(params=["motor", "pymongo"])
async def stores(request: pytest.FixtureRequest, members: ReplicaSet) -> AsyncIterator[list[Store]]:
    """Two workers, on a database of their own."""
    members.wait_until_healthy()
    name = f"test_{secrets.token_hex(4)}"
    made = [Store(f"{members.uri}{PATIENT}", name, request.param) for _ in range(2)]
    await add(made[0], "first")
    yield made
    for each in made:
        await each.close()


def between(store: Store, happens: Callable[[], None]) -> None:
    """Let something happen once, after the store has taken numbers and before it has inserted their messages."""
    insert: Callable[[Any], Awaitable[Any]] = store._insert

    async def later(documents: Any) -> Any:
        store._insert = insert  # type: ignore[method-assign, assignment]
        await asyncio.to_thread(happens)
        return await insert(documents)

    store._insert = later  # type: ignore[method-assign]


async def numbers_and_times(store: Store) -> list[tuple[Any, Any]]:
    """Of all messages, oldest first."""
    messages: list[Any] = await store.before(Position(), 100)
    return [(each.seq, each.created_at) for each in reversed(messages) if hasattr(each, "text")]


async def test_a_number_that_the_dead_primary_alone_knew_is_not_used_on_the_next(
    members: ReplicaSet, stores: list[Store]
) -> None:
    survivor, dies = stores
    await survivor._messages.find_one()
    primary, secondaries = members.primary(), members.secondaries()
    behind = ExitStack()

    def primary_dies() -> None:
        primary.kill()
        behind.close()
        members.wait_until_healthy()

    for each in secondaries:
        behind.enter_context(each.failing("stopReplProducer"))
    await dies._next_numbers(1, 0)  # the worker that has this number dies with the primary
    between(survivor, primary_dies)
    await add(survivor, "taken on the old primary")
    await add(survivor, "taken on the new one")
    in_order = await numbers_and_times(survivor)
    assert len(in_order) == 3
    assert in_order == sorted(in_order, key=lambda each: each[1])


async def test_a_primary_that_is_elected_again_is_another_primary(members: ReplicaSet, stores: list[Store]) -> None:
    store = stores[0]
    primary, secondaries = members.primary(), members.secondaries()

    def elected_again() -> None:
        for each in secondaries:
            each.command("replSetFreeze", 60)
        primary.command("replSetStepDown", 1, force=True)
        members.wait_until_healthy()

    between(store, elected_again)
    before = (await add(store, "before"))[0].seq
    try:
        assert before == 3  # its first number, which was 2, was taken in the term before
    finally:
        for each in secondaries:
            each.command("replSetFreeze", 0)


async def test_a_new_primary_is_not_read_before_it_has_committed_something(
    members: ReplicaSet, stores: list[Store]
) -> None:
    store = stores[0]
    acknowledged, _ = await add(store, "acknowledged")
    await store.before(Position(), 10)
    primary, (elected, behind) = members.primary(), members.secondaries()
    with behind.failing("stopReplProducer"):
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(elected.become_primary)
        store.seconds = 3.0
        with pytest.raises(StoreUnavailable):
            await store.before(Position(), 10)
    store.seconds = None
    await asyncio.to_thread(members.wait_until_healthy)
    assert acknowledged in await store.before(Position(), 10)
