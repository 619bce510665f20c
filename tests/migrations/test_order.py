"""The order of numbers and times: `verify` proves it, and `up` restores it after whatever has interrupted it."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from migrations import runner, throttle
from migrations.runner import Database, Options
from tests.commands import run
from tests.migrations.databases import contents

BEGIN = datetime(2015, 5, 5, tzinfo=UTC)
COUNT = 60


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit batches to ten documents."""
    for name in ("MIN_SIZE", "FIRST_SIZE", "MAX_SIZE"):
        monkeypatch.setattr(throttle, name, 10)


def imported(count: int = COUNT) -> list[dict[str, Any]]:
    """Messages whose ids are in another order than their times, as after an import."""
    hours = list(range(count))
    random.Random(1).shuffle(hours)
    return [
        {"_id": ObjectId(f"{number:024x}"), "text": "x", "created_at": BEGIN + timedelta(hours=hour)}
        for number, hour in enumerate(hours)
    ]


def interrupt(db: Database, run: Any, target: str, step: str, after: int) -> None:
    """Run `up` or `down`, and interrupt it when `step` has changed so many documents."""

    def progress(name: str, done: int, total: int) -> None:
        if (name, done) == (step, after):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(db, target, Options(progress=progress))


def disorder(db: Database) -> list[str]:
    """What `verify` says of the order."""
    (seq,) = [each for each in runner.verify(db) if each.step == "0005_seq"]
    return [str(each) for each in seq.offenders]


@pytest.mark.parametrize("from_version", ["0005", "0006"])
@pytest.mark.parametrize("after", [10, 30, 50, 60])
def test_up_after_an_interrupted_down_gives_the_same_numbers(db: Database, after: int, from_version: str) -> None:
    db.messages.insert_many(imported())
    runner.up(db, from_version)
    numbered = contents(db)
    interrupt(db, runner.down, "0004", "0005_seq", after)
    noted = {each.step: each.problem for each in runner.status(db) if each.problem}
    assert "python -m migrations up" in noted["0005_seq"]
    (report, *_) = runner.up(db, from_version)
    assert report.step == "0005_seq"
    assert "its down had been interrupted" in report.report
    assert contents(db) == numbered
    assert disorder(db) == []
    assert not any(each.problem for each in runner.status(db))
    assert runner.up(db, from_version) == []


@pytest.mark.parametrize("target", [None, "0004"])
def test_down_after_an_interrupted_down_goes_on(db: Database, target: str | None) -> None:
    db.messages.insert_many(imported())
    runner.up(db, "0004")
    before = contents(db)
    runner.up(db, "0005")
    interrupt(db, runner.down, "0004", "0005_seq", 30)
    assert [each.step for each in runner.down(db, target)] == ["0005_seq"]
    assert contents(db) == before
    assert list(runner.applied(db))[-1].startswith("0004")


def test_down_after_an_interrupted_up_reverts_what_was_done(db: Database) -> None:
    db.messages.insert_many(imported())
    runner.up(db, "0004")
    before = contents(db)
    interrupt(db, runner.up, "0005", "0005_seq", 30)
    assert [each.step for each in runner.down(db)] == ["0005_seq"]
    assert contents(db) == before
    assert "number" not in db.messages.index_information()
    assert list(runner.applied(db))[-1].startswith("0004")


def test_an_interrupted_up_goes_on_in_the_order_of_time_though_an_old_server_has_written_since(db: Database) -> None:
    db.messages.insert_many(imported())
    runner.up(db, "0004")
    interrupt(db, runner.up, "0005", "0005_seq", 30)
    db.messages.insert_one({"_id": "late", "text": "x", "created_at": BEGIN + timedelta(days=9)})
    runner.up(db, "0005")
    assert disorder(db) == []
    newest = db.messages.find_one({"seq": 0})
    assert newest is not None
    assert newest["_id"] == "late"


def test_messages_get_their_time_before_their_number(db: Database) -> None:
    """A server of the first version has written after step 0002: what it wrote is not taken for the oldest there is."""
    runner.up(db, "0004")
    db.messages.insert_many([*imported(3), {"_id": ObjectId(), "text": "newest"}])
    assert [each.step for each in runner.up(db, "0005")] == ["0002_created_at", "0005_seq"]
    newest = db.messages.find_one({"seq": 0})
    assert newest is not None
    assert newest["text"] == "newest"
    assert disorder(db) == []


def test_numbers_that_are_out_of_order_are_named_with_the_cure_which_works(mongodb_uri: str, db: Database) -> None:
    db.messages.insert_many(imported())
    runner.up(db, "0005")
    right = contents(db)
    # As if ten had lost their numbers in a `down` that was interrupted, and an older `up` had gone on below the lowest.
    for seq, document in enumerate(db.messages.find(sort=[("_id", 1)], limit=10), start=COUNT):
        db.messages.update_one({"_id": document["_id"]}, {"$set": {"seq": -seq}})
    (said,) = disorder(db)
    assert "old messages that are older than the one with the number before" in said
    words = ["--mongodb-uri", mongodb_uri, "--database", db.name]
    ended = run("migrations", "verify", *words)
    assert ended.returncode == 1
    assert "python -m migrations down 0004" in ended.stdout
    assert run("migrations", "down", "0004", *words).returncode == 0
    assert run("migrations", "up", "0005", *words).returncode == 0
    assert contents(db) == right
    assert disorder(db) == []


def test_equal_times_are_in_the_order_of_ids(db: Database) -> None:
    db.messages.insert_many({"_id": ObjectId(f"{n:024x}"), "text": "x", "created_at": BEGIN} for n in range(5))
    runner.up(db, "0005")
    assert disorder(db) == []
    for id, seq in (("0" * 24, 9), ("0" * 23 + "1", -4), ("0" * 24, -3)):
        db.messages.update_one({"_id": ObjectId(id)}, {"$set": {"seq": seq}})
    assert len(disorder(db)) == 1


def test_a_time_that_falls_among_new_messages_is_named(db: Database) -> None:
    runner.up(db, "0005")
    times = [3, 3, 5, 4, 6]
    db.messages.insert_many(
        {"_id": seq, "text": "x", "created_at": BEGIN + timedelta(seconds=time), "seq": seq}
        for seq, time in enumerate(times, start=1)
    )
    db.messages.insert_one({"seq": 6, "void": True})
    (said,) = disorder(db)
    assert said.startswith("1 messages that are older than the one with the number before")
    assert "(_id: 4)" in said


def test_an_old_message_may_be_later_than_a_new_one(db: Database) -> None:
    """A server of an older version has stored it while one of today's was running already."""
    db.messages.insert_many(imported(3))
    db.messages.insert_one({"_id": "new", "text": "x", "created_at": BEGIN, "seq": 1})
    runner.up(db, "0005")
    assert disorder(db) == []
