"""Step 0002: old messages get the time of their ObjectId as `created_at`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from migrations import runner, throttle
from migrations.runner import Database, Options

BEGIN = datetime(2015, 5, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit batches to ten documents."""
    for name in ("MIN_SIZE", "FIRST_SIZE", "MAX_SIZE"):
        monkeypatch.setattr(throttle, name, 10)


def give_times(db: Database, progress: Callable[[str, int, int], None] = lambda step, done, total: None) -> str:
    """Apply steps 0001 and 0002; return the part of the report that is about messages."""
    return runner.up(db, "0002", Options(progress=progress))[-1].report.removeprefix("made index newest; ")


def old_messages(count: int) -> list[dict[str, object]]:
    """Documents of version 1, an hour apart."""
    times = [BEGIN + timedelta(hours=number) for number in range(count)]
    return [{"_id": ObjectId.from_datetime(time), "text": f"of {time}"} for time in times]


def test_an_empty_database_gets_only_the_index(db: Database) -> None:
    assert give_times(db) == "0 messages got the time in their id"
    assert db.messages.count_documents({}) == 0
    assert db.messages.index_information()["newest"]["key"] == [("created_at", -1), ("_id", -1)]


@pytest.mark.parametrize("count", [1, 9, 10, 11, 25, 30])
def test_every_old_message_gets_the_time_in_its_id(db: Database, count: int) -> None:
    documents = old_messages(count)
    db.messages.insert_many(documents)
    assert give_times(db) == f"{count} messages got the time in their id"
    expected = [each | {"created_at": each["_id"].generation_time} for each in documents]
    assert list(db.messages.find(sort=[("_id", 1)])) == expected


def test_progress_is_called_after_each_batch(db: Database) -> None:
    db.messages.insert_many(old_messages(25))
    calls: list[tuple[int, int]] = []
    give_times(db, lambda step, done, total: calls.append((done, total)))
    assert calls == [(0, 25), (10, 25), (20, 25), (25, 25)]


def test_an_existing_time_is_not_changed(db: Database) -> None:
    documents = [each | {"created_at": datetime.now(UTC).replace(microsecond=0)} for each in old_messages(15)]
    db.messages.insert_many(documents)
    assert give_times(db) == "0 messages got the time in their id"
    assert list(db.messages.find(sort=[("_id", 1)])) == documents


def test_a_document_whose_id_has_no_time_is_not_changed_and_is_reported(db: Database) -> None:
    without = [{"_id": "a string", "text": "x"}, {"_id": 7, "text": "x"}, {"_id": {"a": 1}, "text": "x"}]
    db.messages.insert_many(old_messages(25) + without)
    report = give_times(db)
    assert report.startswith("25 messages got the time in their id; 3 have an _id that holds no time")
    for document in without:
        assert db.messages.find_one({"_id": document["_id"]}) == document


def test_an_interrupted_run_can_be_repeated(db: Database) -> None:
    db.messages.insert_many(old_messages(25))

    def interrupt(step: str, done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_times(db, interrupt)
    assert "0002_created_at" not in runner.applied(db)
    assert db.messages.count_documents({"created_at": None}) == 15

    assert give_times(db) == "index newest was there; 25 messages got the time in their id"
    assert "0002_created_at" in runner.applied(db)
    assert all(each["created_at"] == each["_id"].generation_time for each in db.messages.find())


def test_a_message_that_is_stored_meanwhile_keeps_its_time(db: Database) -> None:
    db.messages.insert_many(old_messages(25))
    arrived = {"_id": ObjectId(), "text": "meanwhile", "created_at": BEGIN}

    def a_writer(step: str, done: int, total: int) -> None:
        db.messages.replace_one({"_id": arrived["_id"]}, arrived, upsert=True)

    give_times(db, a_writer)
    assert db.messages.find_one({"_id": arrived["_id"]}) == arrived
