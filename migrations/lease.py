"""One runner at a time, and none that writes when its time is over.

The lease is a document in the database it protects:

    {_id: "lease", owner, until, fence, session, checkpoint}

`until` is set and compared by the database's clock only, so the clocks of the runners do not matter. A
thread renews it; a runner that dies stops renewing, and after `until` the next one takes over. It cannot
know whether the first is dead or only asleep (a suspended machine, a stopped process, a cable), so the
lease alone would not do: the sleeper may have looked at it, found it valid, fallen asleep, and write when
it wakes. No check that comes before the write can prevent that.

So check and write are one: each batch is a transaction that also changes the lease document, on the
condition that it still carries our `fence`, a number that grows with each owner, and has not run out. If
another runner has taken the lease, or takes it meanwhile, the two transactions have changed one document,
and MongoDB lets only one of them commit. The same change moves the checkpoint, so "how far we are" and
"what is done" can never differ, whenever somebody pulls the plug.

What a sleeper can leave behind is an open transaction, whose locks would make everybody wait for a minute
(`transactionLifetimeLimitSeconds`). Whoever takes over ends it first: that is what `session` is for.

Building an index and changing a collection's options cannot be part of a transaction. They are done after
a renewal, by name and only if missing, so that done twice they do no harm.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pymongo
from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from migrations.database import DURABLE, Database, Document, MigrationError

LEASE = "lease"
LEASE_SECONDS = 10.0
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.2
LONG_AGO = datetime.fromtimestamp(0, UTC)
HAS_ENDED = {"$expr": {"$lt": ["$until", "$$NOW"]}}
HAS_NOT_ENDED = {"$expr": {"$gte": ["$until", "$$NOW"]}}


class LeaseLost(MigrationError):
    """This runner may not write any more: its lease has ended, and another may have it."""

    def __init__(self) -> None:
        super().__init__(
            "this runner was out of touch with the database for longer than its lease, so another may have gone on "
            "in its place; what it had done is kept: run the command again"
        )


class Lease:
    """The right to write, while it is held: see `held`."""

    def __init__(self, database: Database, seconds: float, document: Document, session: ClientSession) -> None:
        self._database = database
        self._seconds = seconds
        self._session = session
        self._mine = {"_id": LEASE, "fence": document["fence"]}
        self.checkpoint: Document | None = document.get("checkpoint")

    def write(self, work: Callable[[ClientSession], Document | None]) -> None:
        """Do what `work` does with the session it is given, all of it and durably, or nothing.

        `work` returns the new checkpoint. It may be called again if the transaction has to be repeated.
        Raises `LeaseLost`.
        """

        def transaction(session: ClientSession) -> Document | None:
            checkpoint = work(session)
            self._renew(session, {"checkpoint": {"$literal": checkpoint}})
            return checkpoint

        # Who waits for longer than the lease lasts has lost it.
        with pymongo.timeout(max(self._seconds, 5.0)):
            self.checkpoint = self._session.with_transaction(transaction, write_concern=DURABLE)

    def renew(self) -> None:
        """Begin the lease's time anew, for what no transaction can hold. Raises `LeaseLost`."""
        self._renew(None, {})

    def _renew(self, session: ClientSession | None, more: Document) -> None:
        renewed = _leases(self._database).update_one(
            self._mine | HAS_NOT_ENDED, [{"$set": {"until": _from_now(self._seconds)} | more}], session=session
        )
        if renewed.matched_count == 0:
            raise LeaseLost

    def _keep(self, released: threading.Event) -> None:
        """Renew until `released`: what takes long besides batches is index builds, and being polite."""
        with suppress(LeaseLost):  # every write asks for itself
            while not released.wait(self._seconds / 3):
                with suppress(PyMongoError):  # the next time may be better
                    self.renew()

    def _release(self) -> None:
        with suppress(PyMongoError):  # it ends by itself
            _leases(self._database).update_one(
                self._mine, {"$set": {"owner": None, "session": None, "until": LONG_AGO}}
            )


@contextmanager
def held(
    database: Database,
    seconds: float = LEASE_SECONDS,
    wait: float = WAIT_SECONDS,
    waiting: Callable[[str], None] = lambda why: None,
) -> Iterator[Lease]:
    """Hold the lease while the block runs. If another runner has it, `waiting` is told who, once.

    Raises `MigrationError` if it is not to be had within `wait` seconds, or if the database cannot
    hold one (a lone mongod knows no transactions).
    """
    _refuse_lone_mongod(database)
    with suppress(DuplicateKeyError):  # another runner has made it at the same moment
        _leases(database).update_one({"_id": LEASE}, {"$setOnInsert": {"until": LONG_AGO, "fence": 0}}, upsert=True)
    with database.client.start_session() as session:
        lease = Lease(database, seconds, _take(database, seconds, wait, waiting, session), session)
        released = threading.Event()
        keeper = threading.Thread(target=lease._keep, args=(released,), name="lease", daemon=True)
        keeper.start()
        try:
            yield lease
        finally:
            released.set()
            keeper.join()
            lease._release()


def holder(database: Database) -> str | None:
    """Who has the lease now, and until when; None if nobody has."""
    lease = _leases(database).find_one({"_id": LEASE} | HAS_NOT_ENDED)
    return None if lease is None else f"{lease['owner']}, until {lease['until'].isoformat(timespec='seconds')}"


def _take(
    database: Database, seconds: float, wait: float, waiting: Callable[[str], None], session: ClientSession
) -> Document:
    ours: Document = {
        "owner": f"process {os.getpid()} on {socket.gethostname()}",
        "until": _from_now(seconds),
        "fence": {"$add": ["$fence", 1]},
        "session": {"$literal": dict(session.session_id)},
    }
    deadline = time.monotonic() + wait
    told = False
    while True:
        if ended := _leases(database).find_one({"_id": LEASE, **HAS_ENDED}):
            _end_transaction_of(database, ended)
            taken = _leases(database).find_one_and_update(
                {"_id": LEASE, **HAS_ENDED}, [{"$set": ours}], return_document=ReturnDocument.AFTER
            )
            if taken is not None:
                return taken
        other = holder(database) or "another runner"
        if time.monotonic() >= deadline:
            raise MigrationError(f"{other} is migrating this database: wait until it has finished, then run again")
        if not told:
            waiting(f"{other}, is migrating this database: waiting for it")
            told = True
        time.sleep(POLL_SECONDS)


def _end_transaction_of(database: Database, ended: Document) -> None:
    if ended.get("session"):
        with suppress(OperationFailure):  # not allowed: then it ends by itself, a minute after it began
            database.client.admin.command("killSessions", [ended["session"]])


def _refuse_lone_mongod(database: Database) -> None:
    hello = database.client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise MigrationError(
            "this MongoDB is no replica set, and migrations need transactions: "
            "start it with --replSet (one member is enough)"
        )


def _leases(database: Database) -> Collection[Document]:
    return database.migration_lease


def _from_now(seconds: float) -> Document:
    return {"$add": ["$$NOW", round(seconds * 1000)]}
