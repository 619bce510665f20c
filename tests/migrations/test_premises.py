"""What others have left in a database: `plan` names it with its cure, and `up` refuses with the same words."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo.errors import AutoReconnect, DocumentTooLarge, OperationFailure, PyMongoError

from migrations import errors, runner
from migrations.documents import no_messages
from migrations.runner import Database, MigrationError
from server.messages import Message
from server.store import Store
from tests.commands import complaint, run
from tests.migrations.databases import old_messages

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CAPPED: dict[str, Any] = {"capped": True, "size": 100_000}
FOLDED: dict[str, Any] = {"collation": {"locale": "en", "strength": 2}}
CLUSTERED: dict[str, Any] = {"clusteredIndex": {"key": {"_id": 1}, "unique": True}}
TIME_SERIES: dict[str, Any] = {"timeseries": {"timeField": "created_at"}}


def large(size: int) -> dict[str, Any]:
    return {"_id": ObjectId("0" * 23 + "1"), "text": "x" * (16 * 1024 * 1024 - size)}


def insert(collection: str, *documents: dict[str, Any]) -> Callable[[Database], object]:
    return lambda db: db[collection].insert_many(documents)


def create(collection: str, **options: Any) -> Callable[[Database], object]:
    return lambda db: db.create_collection(collection, **options)


def index(keys: str, collection: str = "messages", **options: Any) -> Callable[[Database], object]:
    return lambda db: db[collection].create_index(keys, **options)


# What is there, and what has to be said of it.
PROBLEMS: dict[str, tuple[Callable[[Database], object], list[str]]] = {
    "another tool's migrations": (
        insert("migrations", {"_id": 1, "name": "20200101-users.js", "at": NOW}),
        ["1 documents of another tool in the collection migrations", "(_id: 1)", "renameCollection"],
    ),
    "its names are like ours": (
        insert("migrations", {"_id": "0001_users", "appliedAt": NOW}),
        ["another tool", "0001_users"],
    ),
    "a case-insensitive collation": (create("messages", **FOLDED), ["messages has the collation en", "$out"]),
    "a collation of the records": (create("migrations", **FOLDED), ["migrations has the collation en"]),
    "a validator": (
        create("messages", validator={"user": {"$exists": True}}),
        ["messages has a validator", "collMod"],
    ),
    "a validator of the counter": (create("counters", validator={"n": {"$gt": 0}}), ["counters has a validator"]),
    "a view of messages": (create("messages", viewOn="posts", pipeline=[]), ["messages is a view", "rename or drop"]),
    "a view of counters": (create("counters", viewOn="posts", pipeline=[]), ["counters is a view"]),
    "a view of migrations": (create("migrations", viewOn="posts", pipeline=[]), ["migrations is a view"]),
    "a capped collection": (create("messages", **CAPPED), ["messages is a capped collection", "renameCollection"]),
    "a time-series collection": (create("messages", **TIME_SERIES), ["messages is a time-series collection"]),
    "a clustered collection": (create("messages", **CLUSTERED), ["messages is a clustered collection"]),
    "an index of the same name": (
        index("text", name="since"),
        ["index is not as this step makes it: since", "drop it"],
    ),
    "an index of the same name with other options": (
        lambda db: db.messages.create_index([("seq", 1)], name="number"),
        ["index is not as this step makes it: number"],
    ),
    "an index of the same keys": (
        lambda db: db.messages.create_index([("created_at", 1), ("seq", 1)], name="mine"),
        ["the index mine of messages is what a step makes under the name since", 'dropIndex("mine")'],
    ),
    "a unique index": (index("text", unique=True), ["the index text_1 of messages is unique", 'dropIndex("text_1")']),
    "an index that deletes": (index("created_at", expireAfterSeconds=9), ["created_at_1 of messages deletes"]),
    "one key twice": (
        insert("messages", {"text": "x", "dedupe": "key:1"}, {"text": "x", "dedupe": "key:1"}),
        ["the index dedupe is unique, and more than one message has {'dedupe': 'key:1'}"],
    ),
    "one number twice": (
        insert("messages", {"text": "x", "seq": 1}, {"text": "x", "seq": 1}),
        ["the index number is unique, and more than one message has {'seq': 1}"],
    ),
    "a document at the limit": (
        insert("messages", large(60)),
        ["1 messages so large", "000000000000000000000001", "shorten or delete"],
    ),
    "numbers that are texts": (
        insert("messages", {"_id": "a", "text": "x", "seq": "A-17"}),
        ["1 messages with a seq that the service has not given", "'a'", "$rename"],
    ),
    "numbers of others": (insert("messages", {"text": "x", "seq": 10**9}), ["a seq that the service has not given"]),
    "numbers with fractions": (insert("messages", {"text": "x", "seq": 2.5}), ["a seq that the service has not given"]),
    "a counter that does not count": (
        lambda db: (db.messages.insert_one({"text": "x"}), db.counters.insert_one({"_id": "messages", "seq": "many"})),
        ["counter of messages that is no number"],
    ),
}


def everything_in(db: Database) -> tuple[list[str], object]:
    return sorted(db.list_collection_names()), db.command("dbHash")["collections"]


@pytest.mark.parametrize("name", PROBLEMS)
def test_plan_names_it_and_up_refuses_with_the_same_words_before_it_writes(db: Database, name: str) -> None:
    prepare, words = PROBLEMS[name]
    prepare(db)
    before = everything_in(db)
    refusals = []
    for refused in (runner.plan, runner.up):
        with pytest.raises(MigrationError) as refusal:
            refused(db)
        refusals.append(str(refusal.value))
    assert refusals[0] == refusals[1]
    for word in words:
        assert word in refusals[0]
    assert everything_in(db) == before


def test_the_command_says_all_of_it_in_one_line(mongodb_uri: str, db: Database) -> None:
    db.create_collection("counters", **CAPPED)
    db.create_collection("messages", **FOLDED)
    words = ["--mongodb-uri", mongodb_uri, "--database", db.name]
    said = [complaint(run("migrations", verb, *words), 1) for verb in ("plan", "up")]
    assert said[0] == said[1]
    assert "counters is a capped" in said[0]
    assert "messages has the collation" in said[0]
    assert run("migrations", "status", *words).returncode == 0


def test_what_does_not_disturb_is_left_alone(db: Database) -> None:
    db.messages.insert_many([*old_messages(3), large(200), {"text": "x", "seq": 1.0}])
    db.messages.create_index("author")
    db.messages.create_index([("created_at", 1), ("seq", 1)], name="german", collation={"locale": "de"})
    db.create_collection("posts", **CAPPED)
    db.counters.insert_one({"_id": "orders", "seq": "of others"})
    db.create_collection("visits", validator={})
    runner.up(db, "0005")
    assert db.messages.count_documents({"seq": None}) == 0


@pytest.mark.asyncio
async def test_the_service_looks_past_the_migrations_of_another_tool(mongodb_uri: str, db: Database) -> None:
    runner.up(db, "0003")
    db.migrations.insert_many([{"_id": "zz.js"}, {"_id": 7}])
    store = Store(mongodb_uri, db.name)
    assert await store.data_version() == 3
    await store.close()


# Errors of MongoDB on the way.


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AutoReconnect("127.0.0.1:1: refused"), ["start it, or correct --mongodb-uri"]),
        (OperationFailure("Authentication failed.", 18), ["correct --mongodb-uri"]),
        (OperationFailure("not authorized on lab", 13), ["grant it readWrite"]),
        (OperationFailure("Resulting document after update is larger than 16777216", 17419), ["shorten or delete"]),
        (DocumentTooLarge("'update' command document too large"), ["shorten or delete"]),
        (OperationFailure("Document failed validation", 121), ["validator"]),
        (OperationFailure("available disk space of 1 bytes is less", 14031), ["disk space", "make room"]),
        (OperationFailure("unheard of", 4711), ["unheard of", "run again"]),
    ],
)
def test_an_error_is_explained_by_what_it_is(error: PyMongoError, words: list[str]) -> None:
    said = errors.explained(error)
    assert "\n" not in said
    assert all(word in said for word in words)
    assert ("start it" in said) == isinstance(error, AutoReconnect)


def test_a_document_that_becomes_too_large_on_the_way_is_said_to_be(mongodb_uri: str, db: Database) -> None:
    runner.up(db, "0001")
    # It is stored while `up` runs: after the plan was made, as far as the test can tell.
    db.messages.insert_one(large(60))
    words = ["--mongodb-uri", mongodb_uri, "--database", db.name]
    line = complaint(run("migrations", "up", *words), 1)
    assert "shorten or delete" in line
    assert "start it" not in line


# Documents that are no messages.

NO_MESSAGES: list[tuple[str, dict[str, Any]]] = [
    ("that have no text", {"text": None}),
    ("that have no text", {"text": ["a text"]}),
    ("whose author is no text", {"author": None}),
    ("whose author is no text", {"author": {"name": "mia"}}),
    ("whose source is none", {"source": "fax"}),
    ("whose created_at is no time", {"created_at": "yesterday"}),
    ("whose created_at is no time", {"created_at": DatetimeMS(253402300800000)}),
    ("whose created_at is no time", {"created_at": DatetimeMS(-(10**14))}),
    ("whose seq is no whole number", {"seq": 2.5}),
    ("whose seq is no whole number", {"seq": Decimal128("3.5")}),
    ("whose seq is no whole number", {"seq": "3"}),
    ("whose seq is no whole number", {"seq": True}),
    ("whose seq is no whole number", {"seq": float("nan")}),
    ("whose seq is no whole number", {"seq": float("inf")}),
    ("that are void and have no number", {"void": True}),
    ("that are void and have no number", {"void": 1, "seq": 0.5}),
]
MESSAGES: list[dict[str, Any]] = [
    {}, {"created_at": None}, {"created_at": NOW}, {"seq": None}, {"seq": 3.0}, {"seq": Decimal128("4")},
    {"void": None}, {"void": False}, {"source": "sms", "author": "mia"}, {"later": 1},
]  # fmt: skip


@pytest.mark.parametrize("version", ["0001", "0005"])
def test_verify_names_the_documents_that_are_no_messages(mongodb_uri: str, db: Database, version: str) -> None:
    runner.up(db, version)
    words = ["--mongodb-uri", mongodb_uri, "--database", db.name, "--json"]
    assert json.loads(run("migrations", "verify", *words).stdout)["no_messages"] == []
    odd = [{"_id": f"odd {number}", "text": "x"} | given for number, (_, given) in enumerate(NO_MESSAGES)]
    db.messages.insert_many(
        odd + [{"_id": f"fine {number}", "text": "x"} | each for number, each in enumerate(MESSAGES[:6])]
    )
    ended = run("migrations", "verify", *words)
    assert ended.returncode == 1
    verified = json.loads(ended.stdout)
    assert not verified["proved"]
    named = {id: found["what"] for found in verified["no_messages"] for id in found["ids"]}
    assert set(named) == {each["_id"] for each in odd}
    for number, (what, _) in enumerate(NO_MESSAGES):
        assert what in named[f"odd {number}"]
    assert "no message: " in run("migrations", "verify", *words[:-1]).stdout


@pytest.mark.parametrize("given", [*(given for _, given in NO_MESSAGES), *MESSAGES], ids=str)
@pytest.mark.asyncio
async def test_the_service_and_verify_agree_on_what_a_message_is(
    mongodb_uri: str, db: Database, given: dict[str, Any]
) -> None:
    id = ObjectId()
    db.messages.insert_one({"_id": id, "text": "x"} | given)
    store = Store(mongodb_uri, db.name)
    is_message = isinstance(await store.get(str(id)), Message)
    await store.close()
    assert is_message == (not no_messages(db))
