"""A lease with a fencing token: one runner migrates a database at a time.

The lease is a document in the database that it protects:

    {_id: "lease", owner, until, fence, session, checkpoint}

`until` is set and compared by the database's clock only, so the clocks of the runners do not matter. A thread renews
the lease; a runner that dies stops renewing it, and after `until` the next runner takes over. That runner cannot know
whether the first is dead or only paused (a suspended machine, a stopped process, a network partition), so a lease
alone is not safe: a paused runner may have checked its lease before the pause, and write after it. No check that
precedes the write can prevent that.

So the check is part of the write: each batch is a transaction that also updates the lease document, on the condition
that the document still has this runner's `fence`, a number that grows with each owner, and has not expired. If another
runner takes the lease meanwhile, both transactions have written the same document, and MongoDB commits only one of
them. The same update stores the checkpoint, so the checkpoint and the documents always agree.

A paused runner may leave an open transaction, whose locks would block others for a minute
(`transactionLifetimeLimitSeconds`). The next owner aborts it first, by means of `session`.

Building an index and changing a collection's options cannot be part of a transaction. They follow a renewal of the
lease and are idempotent.
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
EPOCH = datetime.fromtimestamp(0, UTC)
EXPIRED = {"$expr": {"$lt": ["$until", "$$NOW"]}}
UNEXPIRED = {"$expr": {"$gte": ["$until", "$$NOW"]}}


class LeaseLost(MigrationError):
    """This runner may not write any more: its lease has expired or belongs to another runner."""

    def __init__(self) -> None:
        super().__init__(
            "this runner had no contact with the database for longer than its lease, so another runner may have taken "
            "over; completed batches are stored: run the command again"
        )


class Lease:
    """The right to write to the database, acquired with `held`; `checkpoint` is the position of the last batch."""

    def __init__(self, database: Database, seconds: float, document: Document, session: ClientSession) -> None:
        self._database = database
        self._seconds = seconds
        self._session = session
        self._filter = {"_id": LEASE, "fence": document["fence"]}
        self.checkpoint: Document | None = document.get("checkpoint")

    def write(self, work: Callable[[ClientSession], Document | None]) -> None:
        """Run `work` in a transaction that also renews the lease, and store the checkpoint that it returns.

        The transaction is durable when this returns. `work` gets the session for its writes, and is called again if
        the transaction has to be retried. Raises `LeaseLost`.
        """

        def transaction(session: ClientSession) -> Document | None:
            checkpoint = work(session)
            self._renew(session, {"checkpoint": {"$literal": checkpoint}})
            return checkpoint

        # A write that takes longer than the lease has lost the lease.
        with pymongo.timeout(max(self._seconds, 5.0)):
            self.checkpoint = self._session.with_transaction(transaction, write_concern=DURABLE)

    def renew(self) -> None:
        """Renew the lease, before a change that cannot be part of a transaction. Raises `LeaseLost`."""
        self._renew(None, {})

    def _renew(self, session: ClientSession | None, more: Document) -> None:
        renewed = _leases(self._database).update_one(
            self._filter | UNEXPIRED, [{"$set": {"until": _from_now(self._seconds)} | more}], session=session
        )
        if renewed.matched_count == 0:
            raise LeaseLost

    def _renew_until(self, released: threading.Event) -> None:
        """Renew the lease until `released`, during index builds and the pauses of the throttle."""
        with suppress(LeaseLost):  # every write checks the lease itself
            while not released.wait(self._seconds / 3):
                with suppress(PyMongoError):  # tried again later
                    self.renew()

    def _release(self) -> None:
        with suppress(PyMongoError):  # it expires
            _leases(self._database).update_one(self._filter, {"$set": {"owner": None, "session": None, "until": EPOCH}})


@contextmanager
def held(
    database: Database,
    seconds: float = LEASE_SECONDS,
    wait: float = WAIT_SECONDS,
    waiting: Callable[[str], None] = lambda text: None,
) -> Iterator[Lease]:
    """Hold the lease during the block; it expires `seconds` after its last renewal.

    Waits up to `wait` seconds for another runner; `waiting` is then called once with a text that names it. Raises
    `MigrationError` after that time, and if MongoDB is not a replica set and so has no transactions.
    """
    _require_replica_set(database)
    with suppress(DuplicateKeyError):  # another runner has created it at the same moment
        _leases(database).update_one({"_id": LEASE}, {"$setOnInsert": {"until": EPOCH, "fence": 0}}, upsert=True)
    with database.client.start_session() as session:
        lease = Lease(database, seconds, _acquire(database, seconds, wait, waiting, session), session)
        released = threading.Event()
        renewing = threading.Thread(target=lease._renew_until, args=(released,), name="lease", daemon=True)
        renewing.start()
        try:
            yield lease
        finally:
            released.set()
            renewing.join()
            lease._release()


def holder(database: Database) -> str | None:
    """The current owner of the lease and its expiry, as text; None if the lease is free."""
    lease = _leases(database).find_one({"_id": LEASE} | UNEXPIRED)
    return None if lease is None else f"{lease['owner']}, until {lease['until'].isoformat(timespec='seconds')}"


def checkpoint(database: Database) -> Document:
    """The checkpoint of a step that was interrupted; empty if none was."""
    lease = _leases(database).find_one({"_id": LEASE}) or {}
    return lease.get("checkpoint") or {}


def _acquire(
    database: Database, seconds: float, wait: float, waiting: Callable[[str], None], session: ClientSession
) -> Document:
    ours: Document = {
        "owner": f"process {os.getpid()} on {socket.gethostname()}",
        "until": _from_now(seconds),
        "fence": {"$add": ["$fence", 1]},
        "session": {"$literal": dict(session.session_id)},
    }
    deadline = time.monotonic() + wait
    announced = False
    while True:
        if expired := _leases(database).find_one({"_id": LEASE, **EXPIRED}):
            _abort_transaction_of(database, expired)
            taken = _leases(database).find_one_and_update(
                {"_id": LEASE, **EXPIRED}, [{"$set": ours}], return_document=ReturnDocument.AFTER
            )
            if taken is not None:
                return taken
        other = holder(database) or "another runner"
        if time.monotonic() >= deadline:
            raise MigrationError(f"{other} is migrating this database: wait until it has finished, then run again")
        if not announced:
            waiting(f"{other}, is migrating this database: waiting for it to finish")
            announced = True
        time.sleep(POLL_SECONDS)


def _abort_transaction_of(database: Database, expired: Document) -> None:
    if expired.get("session"):
        with suppress(OperationFailure):  # not authorized: then MongoDB aborts it a minute after its start
            database.client.admin.command("killSessions", [expired["session"]])


def _require_replica_set(database: Database) -> None:
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
