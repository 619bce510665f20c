"""The lease: one holder at a time, what its document says, and that only its holder writes."""

import os
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bson import ObjectId
from pymongo import _csot  # what `pymongo.timeout` has set
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError

from migrations import lease as leases
from migrations import runner
from migrations.database import MigrationError
from migrations.lease import EPOCH, LeaseLost, held, holder
from migrations.runner import Database
from tests.waiting import eventually

HOUR = 3600.0


@pytest.fixture
def other(mongodb_uri: str, db: Database) -> Iterator[Database]:
    """The database of `db`, as another runner sees it."""
    found = runner.connect(mongodb_uri, db.name)
    yield found
    found.client.close()


def document(db: Database) -> dict[str, Any]:
    found = db.migration_lease.find_one({"_id": "lease"})
    assert found is not None
    return found


def now(db: Database) -> datetime:
    """The time by the database's clock."""
    time: datetime = db.client.admin.command("hello")["localTime"].replace(tzinfo=EPOCH.tzinfo)
    return time


def expire(db: Database) -> None:
    """Let the lease end, as if its time had passed."""
    db.migration_lease.update_one({}, {"$set": {"until": EPOCH}})


def test_while_it_is_held_its_document_says_by_whom_and_until_when(db: Database) -> None:
    before = now(db)
    with held(db, seconds=HOUR):
        found, after = document(db), now(db)
        assert found["owner"] == f"process {os.getpid()} on {socket.gethostname()}"
        assert before <= found["until"] - timedelta(seconds=HOUR) <= after
        assert found["session"]["id"]
        assert holder(db) == f"{found['owner']}, until {found['until'].isoformat(timespec='seconds')}"


def test_what_is_given_back_is_free_at_once(db: Database, other: Database) -> None:
    for fence, runner_s in enumerate((db, other, db), start=1):
        with held(runner_s, seconds=HOUR, wait=0):
            assert document(db)["fence"] == fence
        assert document(db) == {"_id": "lease", "owner": None, "session": None, "until": EPOCH, "fence": fence}
        assert holder(db) is None


def test_it_is_given_back_when_the_work_fails(db: Database) -> None:
    with pytest.raises(ZeroDivisionError), held(db, seconds=HOUR):
        raise ZeroDivisionError
    assert holder(db) is None


def test_nobody_holds_what_was_never_taken(db: Database) -> None:
    assert holder(db) is None


def test_who_does_not_get_it_in_time_is_told_who_has_it(db: Database, other: Database) -> None:
    told: list[str] = []
    with held(db, seconds=HOUR):
        db.command("profile", 2)
        with pytest.raises(MigrationError) as refusal, held(other, wait=0.5, waiting=told.append):
            pass
        db.command("profile", 0)
        assert told == [f"{holder(db)}, is migrating this database: waiting for it to finish"]
        assert str(refusal.value) == (
            f"{holder(db)} is migrating this database: wait until it has finished, then run again"
        )
    # It asked again and again, but not as fast as it could.
    asked = db["system.profile"].count_documents({"op": "query", "ns": f"{db.name}.migration_lease"})
    assert 4 <= asked <= 12


def test_who_does_not_wait_is_refused_at_once_and_is_not_told_to_wait(db: Database, other: Database) -> None:
    told: list[str] = []
    with held(db, seconds=HOUR), pytest.raises(MigrationError), held(other, wait=0, waiting=told.append):
        pass
    assert told == []


def test_who_waits_gets_it_when_it_is_given_back(db: Database, other: Database) -> None:
    told, done = threading.Event(), threading.Event()

    def wait() -> None:
        with held(other, seconds=HOUR, wait=HOUR, waiting=lambda why: told.set()):
            done.set()

    waiting = threading.Thread(target=wait, daemon=True)
    with held(db, seconds=HOUR):
        waiting.start()
        assert told.wait(30)
        assert not done.is_set()
    assert done.wait(30)
    waiting.join(30)


def test_it_is_renewed_for_as_long_as_it_is_held(db: Database) -> None:
    with held(db, seconds=2.0):
        first = document(db)["until"]

        def renewed_twice() -> bool:
            assert holder(db) is not None, "it has ended in between"
            return bool(document(db)["until"] > first + timedelta(seconds=1.5))

        while not renewed_twice():
            pass


def test_its_keeper_ends_without_a_word_when_it_is_lost(db: Database) -> None:
    # A thread that dies of an exception makes pytest fail.
    with held(db, seconds=0.3):
        (keeper,) = [each for each in threading.enumerate() if each.name == "lease"]
        db.migration_lease.update_one({}, {"$inc": {"fence": 1}})
        eventually(lambda: not keeper.is_alive())
    assert document(db)["owner"] is not None  # it belongs to another now, who alone may give it back


def test_its_keeper_goes_on_after_an_error_of_the_database(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []

    def fails_once(lease: leases.Lease) -> None:
        asked.append(None)
        if len(asked) == 1:
            raise PyMongoError("a cable")

    monkeypatch.setattr(leases.Lease, "renew", fails_once)
    with held(db, seconds=0.3):
        eventually(lambda: len(asked) > 1)


def test_a_renewal_begins_its_time_anew(db: Database) -> None:
    with held(db, seconds=HOUR) as lease:
        db.migration_lease.update_one({}, {"$set": {"until": now(db) + timedelta(seconds=60)}})
        before = now(db)
        lease.renew()
        assert before <= document(db)["until"] - timedelta(seconds=HOUR) <= now(db)


@pytest.mark.parametrize("loss", [{"$set": {"until": EPOCH}}, {"$inc": {"fence": 1}}])
def test_what_is_lost_can_neither_be_renewed_nor_written_under(db: Database, loss: dict[str, Any]) -> None:
    with held(db, seconds=HOUR) as lease:
        lost = db.migration_lease.find_one_and_update({}, loss, return_document=True)
        with pytest.raises(LeaseLost, match="longer than its lease"):
            lease.renew()
        with pytest.raises(LeaseLost):
            lease.write(lambda session: insert(db, session, "late"))
        assert document(db) == lost
    assert db.messages.count_documents({}) == 0


def insert(db: Database, session: ClientSession, text: str) -> dict[str, Any]:
    """Write something; gives a checkpoint that says so."""
    db.messages.insert_one({"text": text}, session=session)
    return {"last": text}


def test_a_write_and_its_checkpoint_are_one_and_the_next_holder_goes_on_from_there(db: Database) -> None:
    with held(db, seconds=HOUR) as lease:
        assert lease.checkpoint is None
        db.migration_lease.update_one({}, {"$set": {"until": now(db) + timedelta(seconds=60)}})
        before = now(db)
        lease.write(lambda session: insert(db, session, "$text"))
        assert lease.checkpoint == document(db)["checkpoint"] == {"last": "$text"}
        assert before <= document(db)["until"] - timedelta(seconds=HOUR) <= now(db)  # a write renews it too
        with pytest.raises(ZeroDivisionError):
            lease.write(lambda session: insert(db, session, "never") and {"last": 1 / 0})
    with held(db) as lease:
        assert lease.checkpoint == {"last": "$text"}
        lease.write(lambda session: None)
        assert lease.checkpoint is None
    assert [each["text"] for each in db.messages.find()] == ["$text"]


@pytest.mark.parametrize(("seconds", "allowed"), [(HOUR, HOUR), (1.0, 5.0)])
def test_a_write_may_wait_for_as_long_as_the_lease_lasts_or_some_seconds(
    db: Database, seconds: float, allowed: float
) -> None:
    with held(db, seconds=seconds) as lease:
        lease.write(lambda session: {"allowed": _csot.get_timeout()})
        assert lease.checkpoint == {"allowed": allowed}


def test_who_takes_over_ends_the_transaction_that_was_left_open(db: Database, other: Database) -> None:
    parent = db.messages.insert_one({"_id": ObjectId()}).inserted_id
    ends: list[str] = []

    def sleeps_in_the_middle(session: ClientSession) -> None:
        db.messages.update_one({"_id": parent}, {"$set": {"by": "the sleeper"}}, session=session)
        if not ends:  # a transaction that was ended is begun anew
            expire(other)
            with held(other, seconds=HOUR, wait=0):
                other.messages.update_one({"_id": parent}, {"$set": {"by": "the next"}})
                ends.append(str(document(other)["fence"]))

    with held(db, seconds=HOUR) as lease, pytest.raises((LeaseLost, PyMongoError)):
        lease.write(sleeps_in_the_middle)
    assert ends == ["2"]
    assert db.messages.find_one() == {"_id": parent, "by": "the next"}


@pytest.mark.parametrize(
    ("hello", "is_refused"),
    [({}, True), ({"msg": "something"}, True), ({"setName": "lab"}, False), ({"msg": "isdbgrid"}, False)],
)
def test_a_lone_mongod_is_refused(db: Database, hello: dict[str, str], is_refused: bool) -> None:
    class Admin:
        """The administration of some kind of MongoDB, of which only its `hello` is asked."""

        def command(self, name: str) -> dict[str, str]:
            assert name == "hello"
            return hello

    class Other:
        """The test's own database behind a client that says it is something else."""

        client = SimpleNamespace(admin=Admin(), start_session=db.client.start_session)
        migration_lease = db.migration_lease

    if is_refused:
        with pytest.raises(MigrationError, match="start it with --replSet"), held(cast(Database, Other())):
            pass
    else:
        with held(cast(Database, Other()), wait=0):
            pass
