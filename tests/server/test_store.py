"""The store: reads messages of every shape, through an index, and says when MongoDB is away."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from harness.ports import free_port
from migrations.runner import Database
from server.messages import Message, Position, StoreUnavailable
from server.store import WATCHING, Store
from tests.server.conftest import Queries
from tests.server.writing import add

THEN = datetime(2020, 2, 29, 12, 0, 0, 123000, UTC)
ID = ObjectId.from_datetime(datetime(2015, 5, 5, 5, 5, 5, tzinfo=UTC))
NEWEST = Position()


@pytest.mark.asyncio
async def test_what_was_added_can_be_read(store: Store) -> None:
    added, replayed = await add(store, "hello", "sms")
    assert not replayed
    assert (added.text, added.author, added.source, added.seq) == ("hello", "anonymous", "sms", 1)
    assert abs(added.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await store.before(NEWEST, 10) == [added]
    assert await store.get(added.id) == added


@pytest.mark.parametrize(
    ("document", "created_at"),
    [
        pytest.param({"_id": ID}, ID.generation_time, id="nothing but text"),
        pytest.param({"_id": ID, "created_at": None}, ID.generation_time, id="created_at is null"),
        pytest.param({"_id": "mine"}, datetime(1970, 1, 1, tzinfo=UTC), id="its id is a string"),
        pytest.param({"_id": 7}, datetime(1970, 1, 1, tzinfo=UTC), id="its id is a number"),
        pytest.param({"_id": ID, "created_at": THEN}, THEN, id="with created_at"),
        pytest.param({"_id": "mine", "created_at": THEN}, THEN, id="a string and created_at"),
        pytest.param({"_id": ID, "created_at": THEN, "later": 1}, THEN, id="a field of a later version"),
    ],
)
@pytest.mark.asyncio
async def test_a_document_of_any_version_is_a_message(
    store: Store, migrated: Database, document: dict[str, object], created_at: datetime
) -> None:
    migrated.messages.insert_one(document | {"text": "hello"})
    expected = Message(id=str(document["_id"]), text="hello", author="anonymous", created_at=created_at)
    assert await store.before(NEWEST, 1) == [expected]


@pytest.mark.asyncio
async def test_the_newest_come_first_and_ties_have_one_order(store: Store, migrated: Database) -> None:
    old, late = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    in_order = [
        {"_id": "numbered", "seq": 2, "created_at": old},
        {"_id": "lower number", "seq": 1, "created_at": late},
        {"_id": "b", "created_at": late},
        {"_id": "a", "created_at": late},
        {"_id": "z", "created_at": old},
        {"_id": "without a time"},
    ]
    migrated.messages.insert_many(each | {"text": "x"} for each in in_order[::-1])
    ids = [each["_id"] for each in in_order]
    assert [message.id for message in await store.before(NEWEST, 10)] == ids
    assert [message.id for message in await store.before(NEWEST, 3)] == ids[:3]


@pytest.mark.asyncio
async def test_the_newest_are_found_through_an_index(store: Store, migrated: Database, queries: Queries) -> None:
    migrated.messages.insert_many({"text": "x", "created_at": THEN, "seq": number} for number in range(1, 101))
    await store.before(NEWEST, 5)
    (query,) = queries()
    assert query["planSummary"].startswith("IXSCAN")
    assert query["docsExamined"] == 5
    assert not query.get("hasSortStage")


@pytest.mark.asyncio
async def test_numbers_with_a_fraction_are_not_counted_among_those_asked_for(store: Store, migrated: Database) -> None:
    migrated.messages.insert_many({"text": "x", "seq": seq} for seq in (1, 1.5, 2, 2.25, 2.5, 3, 4))
    assert [await store.numbers_after(0, limit) for limit in (1, 2, 3, 9)] == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]


@pytest.mark.asyncio
async def test_a_visit_is_a_document_with_its_time(store: Store, migrated: Database) -> None:
    await store.add_visit()
    (visit,) = migrated.visits.find()
    assert abs(visit["at"] - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.asyncio
async def test_a_mongodb_that_is_away_is_the_core_s_error_as_soon_as_the_uri_says(driver: str) -> None:
    store = Store(f"mongodb://127.0.0.1:{free_port()}/?timeoutMS=100", "test", driver)
    try:
        for call in (
            store.ping,
            lambda: store.before(NEWEST, 1),
            lambda: add(store),
            store.add_visit,
        ):
            with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
                await asyncio.wait_for(call(), 4)  # without the URI's own word it would take 5 s
    finally:
        await store.close()


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://",
        "mongodb://host:port",
        "mongodb://host:99999",
        "mongodb://[::1",
        "mongodb://user:p@ss@host",
        "mongodb://host/?w=-1",
        "mongodb://host/?authMechanism=handshake",
        "mongodb://host/?tls=true&tlsCAFile=/nothing",
    ],
)
@pytest.mark.asyncio
async def test_a_uri_that_cannot_be_read_is_the_core_s_error(uri: str) -> None:
    with pytest.raises(StoreUnavailable):
        Store(uri, "test")


@pytest.mark.asyncio
async def test_a_stream_of_changes_is_open_at_once_and_leaves_nothing_out(
    store: Store, mongodb_uri: str, migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MongoDB is to answer only when something has changed.
    monkeypatch.setattr("server.store.WATCH_MILLISECONDS", 1_000_000)
    monkeypatch.setitem(WATCHING, "socketTimeoutMS", 1_000_000)
    watching = Store(mongodb_uri, migrated.name)
    async with asyncio.timeout(20), aclosing(watching.changes()) as changes:
        assert await anext(changes) is None
        added, _ = await add(store, "right after it")
        assert await anext(changes) == added
    await watching.close()


@pytest.mark.asyncio
async def test_a_process_does_not_make_mongodb_look_twice_at_its_own_messages(store: Store, db: Database) -> None:
    """The filter of the change stream is applied to MongoDB's log, not to the changes made of what is in it."""
    async with aclosing(store.changes()) as changes:
        await anext(changes)
        of_messages = {"$match": {"ns": f"{db.name}.messages", "cursor.originatingCommand.pipeline": {"$exists": True}}}
        (operation,) = db.client.admin.aggregate([{"$currentOp": {"idleCursors": True}}, of_messages])
    stream = {"aggregate": "messages", "cursor": {}, "pipeline": operation["cursor"]["originatingCommand"]["pipeline"]}
    plan = db.command("explain", stream, verbosity="queryPlanner")
    assert "'o.worker'" in str(plan["stages"][0]["$cursor"]["queryPlanner"]["parsedQuery"])
