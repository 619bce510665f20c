"""Step 0005: all messages get a sequence number."""

from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from migrations import runner, throttle
from migrations.runner import Database, Options

BEGIN = datetime(2015, 5, 5, tzinfo=UTC)


def number_all(db: Database, options: Options | None = None) -> str:
    """Apply the steps up to 0005; return the part of the report that is about sequence numbers."""
    return runner.up(db, "0005", options)[-1].report.split("; ")[-1]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit batches to ten documents."""
    for name in ("MIN_SIZE", "FIRST_SIZE", "MAX_SIZE"):
        monkeypatch.setattr(throttle, name, 10)


def insert_old_messages(db: Database, count: int) -> list[object]:
    """Store messages of version 2 in mixed order; return their ids, newest first."""
    documents = [
        {"_id": ObjectId(), "text": "x", "created_at": BEGIN + timedelta(hours=number)} for number in range(count)
    ]
    if documents:
        db.messages.insert_many(documents[1::2] + documents[::2])
    return [document["_id"] for document in documents[::-1]]


def numbers(db: Database) -> list[tuple[object, int]]:
    return [(each["_id"], each["seq"]) for each in db.messages.find(sort=[("seq", -1)])]


@pytest.mark.parametrize("count", [0, 1, 10, 25])
def test_old_messages_count_down_from_zero(db: Database, count: int) -> None:
    ids = insert_old_messages(db, count)
    assert number_all(db) == f"{count} messages got their number"
    assert numbers(db) == [(id, -place) for place, id in enumerate(ids)]


def test_messages_without_a_time_come_last(db: Database) -> None:
    ids = insert_old_messages(db, 3)
    db.messages.insert_many([{"_id": "a string", "text": "x"}, {"_id": 7, "text": "x"}])
    number_all(db)
    assert numbers(db) == [(id, -place) for place, id in enumerate([*ids, "a string", 7])]


def test_an_interrupted_run_is_resumed(db: Database) -> None:
    ids = insert_old_messages(db, 25)

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == ("0005_seq", 10):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        number_all(db, Options(progress=interrupt))
    assert number_all(db) == "25 messages got their number"
    assert numbers(db) == [(id, -place) for place, id in enumerate(ids)]


def test_an_existing_number_is_not_changed(db: Database) -> None:
    ids = insert_old_messages(db, 5)
    db.messages.insert_one({"_id": "new", "text": "x", "created_at": BEGIN, "seq": 1})
    number_all(db)
    assert numbers(db) == [("new", 1), *((id, -place) for place, id in enumerate(ids))]


def test_numbers_are_unique(migrated: Database) -> None:
    migrated.messages.insert_one({"text": "x", "seq": 1})
    with pytest.raises(Exception, match="duplicate key"):
        migrated.messages.insert_one({"text": "y", "seq": 1})
