"""Runners that are killed, paused, started twice, or whose mongod dies."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from bson import ObjectId
from pymongo.errors import PyMongoError

from harness import mongod
from migrations import lease as leases
from migrations import runner
from migrations.lease import LeaseLost
from migrations.runner import Database, MigrationError, Options
from tests.migrations.databases import ODD, contents, old_messages, runner_process
from tests.processes import kill, mongod_of
from tests.waiting import eventually

DOCUMENTS = 5000


@pytest.fixture
def undisturbed(mongodb_uri: str) -> Iterator[Database]:
    """A second database."""
    other = runner.connect(mongodb_uri, f"test_undisturbed_{ObjectId()}")
    yield other
    other.client.drop_database(other.name)
    other.client.close()


def test_a_runner_killed_after_each_batch_gives_the_same_result(
    mongodb_uri: str, db: Database, undisturbed: Database
) -> None:
    documents = 2000
    for each in (db, undisturbed):
        each.messages.insert_many(old_messages(documents) + ODD)
        runner.up(each, "0001")
    runner.up(undisturbed, "0005")

    done: list[int] = []
    while True:
        with runner_process(mongodb_uri, db, "0002", lease=1, kill=True) as process:
            said = process.communicate(timeout=60)[0]
        if process.returncode == 0:
            break
        if process.returncode == -signal.SIGKILL:  # else it lost its short lease, on a busy machine
            done.append(int(said.splitlines()[-1].split()[1]))
    # Each run resumed where the one before was killed: no batch was repeated or skipped.
    assert done == list(range(500, documents + 1, 500))
    assert runner.applied(db)["0002_created_at"]["report"].startswith(
        f"index newest was there; {documents} messages got the time in their id"
    )

    numbered = 0
    while True:
        with runner_process(mongodb_uri, db, "0005", lease=1, kill=True) as process:
            process.communicate(timeout=60)
        if process.returncode == 0:
            break
        numbered += process.returncode == -signal.SIGKILL
    assert numbered >= documents / 500
    assert contents(db) == contents(undisturbed)


def test_a_runner_killed_within_a_batch_gives_the_same_result(
    mongodb_uri: str, db: Database, undisturbed: Database
) -> None:
    for each in (db, undisturbed):
        each.messages.insert_many(old_messages(DOCUMENTS) + ODD)
    runner.up(undisturbed)
    with runner_process(mongodb_uri, db) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("0002_created_at 1000"):
            pass
        process.kill()
    runner.up(db)
    assert contents(db) == contents(undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_runner_releases_the_lease(mongodb_uri: str, db: Database, number: signal.Signals) -> None:
    db.messages.insert_many(old_messages(10 * DOCUMENTS))
    command = [sys.executable, "-m", "migrations", "up", "--json", "--mongodb-uri", mongodb_uri, "--database", db.name]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "0002_created_at" not in process.stderr.readline():
            pass
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "0002_created_at" not in runner.applied(db)
    with leases.held(db, wait=0):
        pass


def test_of_two_concurrent_runners_one_works_and_the_other_waits(mongodb_uri: str, db: Database) -> None:
    db.messages.insert_many(old_messages(DOCUMENTS))
    with runner_process(mongodb_uri, db, lease=10) as one, runner_process(mongodb_uri, db, lease=10) as other:
        said = [each.communicate(timeout=60)[0] for each in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0]
    assert sorted(each.count("report") for each in said) == [0, 6]
    assert runner.pending(db) == []


def test_without_waiting_the_error_names_the_owner_of_the_lease(db: Database) -> None:
    with leases.held(db), pytest.raises(MigrationError, match=r"process \d+ on .*, until .* is migrating"):
        runner.up(db, options=Options(wait=0))
    assert runner.applied(db) == {}


def test_a_runner_that_was_paused_past_its_lease_is_fenced(mongodb_uri: str, db: Database) -> None:
    db.messages.insert_many(old_messages(DOCUMENTS))
    with runner_process(mongodb_uri, db, lease=1) as paused:
        assert paused.stdout is not None
        while not paused.stdout.readline().startswith("0002_created_at 1000"):
            pass
        paused.send_signal(signal.SIGSTOP)
        before = db.messages.count_documents({"created_at": None})
        with leases.held(db, wait=60) as taken_over:
            # No open transaction of the paused runner blocks the new owner.
            db.messages.update_many({}, {"$set": {"touched": True}})
            paused.send_signal(signal.SIGCONT)
            said = paused.communicate(timeout=60)[0]
            assert "no contact with the database for longer than its lease" in said.splitlines()[-1]
            assert db.messages.count_documents({"created_at": None}) in (before, before - 500)
            taken_over.renew()
    runner.up(db)
    assert db.messages.count_documents({"created_at": None}) == 0


def test_an_expired_lease_is_fenced_even_without_a_new_owner(db: Database) -> None:
    with leases.held(db, seconds=30) as lease:
        # Simulate an expired lease.
        db.migration_lease.update_one({}, {"$set": {"until": leases.EPOCH}})
        with pytest.raises(LeaseLost):
            lease.write(lambda session: db.messages.insert_one({"text": "late"}, session=session) and None)
    assert db.messages.count_documents({}) == 0


def test_a_write_fails_if_the_lease_is_taken_within_its_transaction(db: Database) -> None:
    db.messages.insert_one({"_id": 1})
    with leases.held(db, seconds=30) as lease:

        def late(session: object) -> None:
            db.messages.update_one({"_id": 1}, {"$set": {"late": True}}, session=session)  # type: ignore[arg-type]
            db.migration_lease.update_one({}, {"$inc": {"fence": 1}})

        with pytest.raises((LeaseLost, PyMongoError)):
            lease.write(late)
    assert db.messages.find_one() == {"_id": 1}


def test_a_killed_mongod_loses_no_completed_batch(data_dir: Path) -> None:
    with mongod.running(data_dir) as uri:
        database = runner.connect(uri, "test")
        database.messages.insert_many(old_messages(DOCUMENTS))
        with runner_process(uri, database, "0002") as process:
            assert process.stdout is not None
            while not process.stdout.readline().startswith("0002_created_at 500"):
                pass
            kill(psutil.Process(mongod_of(data_dir).pid))
            process.kill()
        database.client.close()
    with mongod.running(data_dir) as uri:
        database = runner.connect(uri, "test")
        assert runner.up(database, "0002", Options(wait=30))
        assert database.messages.count_documents({}) == DOCUMENTS
        assert all(each["created_at"] == each["_id"].generation_time for each in database.messages.find())
        database.client.close()


def test_documents_that_an_old_server_writes_meanwhile_are_migrated(db: Database) -> None:
    """Documents of version 1 are inserted during the backfill, above and below its current position."""
    db.messages.insert_many(old_messages(14_000, first=10_000))
    stop, written = threading.Event(), []

    def old_server() -> None:
        for number in range(10_000):
            below_or_above = number if number % 2 else number + 20_000
            document = old_messages(below_or_above + 1, first=below_or_above)[0]
            db.messages.insert_one(document)
            written.append(document["_id"])
            if stop.wait(0.002):
                return

    writer = threading.Thread(target=old_server)

    def stop_late(step: str, done: int, total: int) -> None:
        assert done <= total
        if done > 2000:
            stop.set()

    writer.start()
    try:
        eventually(lambda: written)
        runner.up(db, "0002", Options(progress=stop_late, limit=0.005))
    finally:
        stop.set()
        writer.join()
    runner.up(db, "0002")  # documents that were written after the verification
    assert written
    assert all(each["created_at"] == each["_id"].generation_time for each in db.messages.find())
    assert db.messages.count_documents({}) == 4000 + len(written)
