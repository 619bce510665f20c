"""The runner: checksums, order of steps, plan, verify and down."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pymongo import MongoClient

from harness import mongod
from harness.ports import free_port
from migrations import runner, throttle
from migrations.runner import Database, MigrationError
from server.versions import EXPECTED
from tests.commands import complaint, run
from tests.migrations.databases import ODD, contents, old_messages
from tests.waiting import eventually


def test_an_edited_step_is_refused_by_name(db: Database) -> None:
    runner.up(db, "0003")
    db.migrations.update_one({"_id": "0002_created_at"}, {"$set": {"checksum": "of another text"}})
    for refused in (runner.up, runner.plan, runner.down):
        with pytest.raises(MigrationError, match="0002_created_at was edited"):
            refused(db)
    (edited,) = [each for each in runner.status(db) if each.problem]
    assert edited.step == "0002_created_at"


@pytest.mark.parametrize("name", ["0002_gone", "0099_from_the_future"])
def test_an_applied_step_without_a_script_is_refused_by_name(db: Database, name: str) -> None:
    runner.up(db)
    db.migrations.insert_one({"_id": name, "at": datetime.now(UTC), "report": ""})
    with pytest.raises(MigrationError, match=f"{name} was applied .* no such script"):
        runner.up(db)
    assert name in [each.step for each in runner.status(db)]


def test_a_step_out_of_order_is_refused_by_name(db: Database) -> None:
    runner.up(db)
    db.migrations.delete_one({"_id": "0003_replies"})
    with pytest.raises(MigrationError, match="0003_replies is out of order: 0004_"):
        runner.up(db)


def test_records_without_a_checksum_are_accepted(db: Database) -> None:
    runner.up(db, "0005")
    db.migrations.update_many({}, {"$unset": {"checksum": True}})
    assert [each.step for each in runner.up(db)] == ["0006_validator"]


def test_plan_counts_what_each_step_will_change(db: Database) -> None:
    db.messages.insert_many([*old_messages(30), *ODD])
    db.messages.update_many({"text": {"$in": ["number 1", "number 2"]}}, {"$set": {"created_at": datetime.now(UTC)}})
    assert [each.documents for each in runner.plan(db)] == [0, 28, 0, 0, 35, 0]


def test_down_then_up_gives_the_same_data(db: Database) -> None:
    own_time = {"created_at": datetime(2020, 1, 1, tzinfo=UTC)}
    db.messages.insert_many([*old_messages(50), *ODD, {"text": "imported"} | own_time])
    runner.up(db, "0001")
    old = contents(db)
    runner.up(db)
    new = contents(db)
    runner.down(db, "0001")
    assert contents(db) == old
    assert set(db.messages.index_information()) == {"_id_"}
    runner.up(db)
    assert contents(db) == new
    assert [each.step for each in runner.down(db)] == ["0006_validator"]
    assert len(runner.down(db, "0")) == 5
    assert contents(db) == old
    assert runner.down(db) == []


def test_verify_lists_offenders_and_exceptions(db: Database) -> None:
    db.messages.insert_many([*old_messages(5), *ODD])
    runner.up(db)
    results = {each.step: each for each in runner.verify(db)}
    assert not any(each.offenders for each in results.values())
    (exceptions,) = results["0002_created_at"].exceptions
    assert exceptions.count == len(ODD)
    assert set(map(str, exceptions.ids)) == {str(each["_id"]) for each in ODD}

    runner.down(db)
    db.messages.insert_one({"_id": old_messages(7)[6]["_id"], "text": "of an old server"})
    db.messages.drop_index("dedupe")
    results = {each.step: each for each in runner.verify(db)}
    assert [step for step, result in results.items() if result.offenders] == [
        "0002_created_at",
        "0004_author_source_dedupe",
        "0005_seq",
        "0006_validator",
    ]


def test_the_validator_refuses_to_begin_while_there_are_offenders(mongodb_uri: str, db: Database) -> None:
    runner.up(db, "0005")
    db.messages.insert_many(old_messages(3))
    words = ["--mongodb-uri", mongodb_uri, "--database", db.name]
    assert run("migrations", "verify", *words).returncode == 1
    refusal = complaint(run("migrations", "up", *words), 1)
    assert "0006_validator refuses" in refusal
    assert "python -m migrations up 0005" in refusal
    # The remedy that the error names works: with nothing pending up to 0005, older documents are updated.
    assert run("migrations", "up", "0005", *words).returncode == 0
    assert run("migrations", "up", *words).returncode == 0
    assert run("migrations", "verify", *words).returncode == 0


def test_the_validator_refuses_while_a_document_has_a_wrong_type(db: Database) -> None:
    runner.up(db, "0005")
    db.messages.insert_one({"text": 5, "seq": 1, "created_at": datetime.now(UTC)})
    with pytest.raises(MigrationError, match="1 documents that the schema refuses"):
        runner.up(db)
    assert "0006_validator" not in runner.applied(db)


def test_a_duplicate_key_is_named(db: Database) -> None:
    db.messages.insert_many([{"text": "x", "dedupe": "key:1"}, {"text": "x", "dedupe": "key:1"}])
    with pytest.raises(MigrationError, match=r"dedupe is unique, and more than one message has .*key:1"):
        runner.up(db)


def test_a_different_index_with_the_same_name_is_an_offender(db: Database) -> None:
    db.messages.create_index("text", name="newest")
    with pytest.raises(MigrationError, match="index is not as this step makes it: newest"):
        runner.up(db)


def test_the_service_expects_the_last_step() -> None:
    assert runner.steps()[-1].number == EXPECTED


def test_replication_lag_is_that_of_the_slowest_reachable_member() -> None:
    times = [datetime(2024, 1, 1, 0, 0, second, tzinfo=UTC) for second in (30, 25, 0)]
    states = ["PRIMARY", "SECONDARY", "(not reachable/healthy)"]
    members = [{"stateStr": state, "optimeDate": time} for state, time in zip(states, times, strict=True)]
    assert throttle.lag({"members": members}) == 5


def test_seed_makes_an_old_database(mongodb_uri: str, db: Database) -> None:
    words = ["--mongodb-uri", mongodb_uri, "--database", db.name]
    assert run("migrations", "seed", "--version", "1", "--count", "1200", *words).returncode == 0
    assert [set(each) for each in db.messages.find()] == [{"_id", "text"}] * 1200
    assert list(runner.applied(db)) == ["0001_collections"]
    assert "name a new one" in complaint(run("migrations", "seed", *words), 1)
    runner.up(db)
    assert not any(each.offenders for each in runner.verify(db))


@pytest.fixture
def guarded(data_dir: Path) -> Iterator[str]:
    """The address of a mongod that requires authentication."""
    data_dir.mkdir()
    port = free_port()
    command = [mongod.find(), "--auth", "--dbpath", data_dir, "--bind_ip", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([*command, "--nounixsocket"], stdout=subprocess.DEVNULL) as process:
        try:
            address = f"127.0.0.1:{port}"
            with MongoClient(f"mongodb://{address}") as client:
                eventually(lambda: client.admin.command("ping"), seconds=60)
                client.admin.command("createUser", "admin", pwd="secret", roles=["root"])
            yield address
        finally:
            process.terminate()


def test_status_plan_and_verify_need_only_the_right_to_read(guarded: str) -> None:
    with MongoClient(f"mongodb://admin:secret@{guarded}") as client:
        client.test.messages.insert_many(old_messages(3))
        client.test.command("createUser", "reader", pwd="secret", roles=["read"])
    uri = f"mongodb://reader:secret@{guarded}/test"
    words = ["--mongodb-uri", uri, "--database", "test"]
    for verb in ("status", "plan", "verify"):
        ended = run("migrations", verb, *words)
        assert (ended.returncode, ended.stderr) == (0, ""), verb
    refusal = complaint(run("migrations", "up", *words), 1)
    assert "no replica set" in refusal
    assert "secret" not in refusal
