"""Update a collection in bounded batches, in the order of `_id`, while other clients write to it.

One `updateMany` over a large collection cannot be resumed or throttled, and the driver does not retry it. Here each
batch is a range of ids, with a filter for the documents that still need the change, so repeating a batch changes
nothing.

BSON orders values of all types (numbers, strings, ObjectIds, …), but the query `{"_id": {"$gt": x}}` matches only ids
of the same type as x. The aggregation operator `$gt`, inside `$expr`, compares across types.

The order of ids is not the order of insertion: an ObjectId contains the clock of the machine that made it, so a server
of an older version may insert below the current position. Therefore the collection is swept repeatedly until the
filter matches no document.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pymongo import ASCENDING
from pymongo.client_session import ClientSession

from migrations.database import Database, Document, MigrationError
from migrations.lease import Lease
from migrations.throttle import LIMIT_SECONDS, Throttle

MAX_SWEEPS = 100
BY_ID = [("_id", ASCENDING)]

# Called with the number of documents done, and the total; done is never larger than the total.
Progress = Callable[[int, int], None]


@dataclass
class Work:
    """The context in which an operation writes its batches: the lease, the checkpoint, progress and throttling.

    `key` identifies the operation in the checkpoint, so that an interrupted run is resumed by the same operation only.
    `limit` is the longest that a batch may take, in seconds, or None for no throttling.
    """

    lease: Lease
    key: str
    progress: Progress = lambda done, total: None
    limit: float | None = LIMIT_SECONDS
    done: int = 0
    total: int = 0

    def begin(self, todo: int) -> Document | None:
        """Start, with `todo` documents to change; return `{_id}` of the last one done before, or None."""
        checkpoint = self.lease.checkpoint or {}
        if checkpoint.get("key") != self.key:
            checkpoint = {"done": 0, "after": None}
        self.done, self.total = checkpoint["done"], checkpoint["done"] + todo
        self.progress(self.done, self.total)
        return checkpoint["after"]  # type: ignore[no-any-return]

    def batch(self, change: Callable[[ClientSession], int], after: Document | None = None) -> int:
        """Write a batch and the checkpoint `after` in one transaction; return the number of documents changed.

        `change` writes the batch and returns that number; it may be called again. Raises `LeaseLost`.
        """
        before = self.done

        def transaction(session: ClientSession) -> Document:
            self.done = before + change(session)
            return {"key": self.key, "done": self.done, "after": after}

        self.lease.write(transaction)
        self.total = max(self.total, self.done)
        self.progress(self.done, self.total)
        return self.done - before


class Sweeps:
    """Bounds the number of sweeps over a collection in which servers of an older version still insert documents."""

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._count = 0

    def again(self) -> None:
        """Count another sweep. Raises `MigrationError` after MAX_SWEEPS."""
        self._count += 1
        if self._count > MAX_SWEEPS:
            raise MigrationError(
                f"documents of an older version are inserted into {self._collection} all the time: "
                "stop the servers of the older version, then run this again"
            )


def walk(database: Database, collection: str, todo: Document, pipeline: list[Document], work: Work) -> None:
    """Update all documents that match `todo` with the aggregation `pipeline`, after which they must not match it.

    Returns when no document matches. Raises `LeaseLost`, and `MigrationError` after MAX_SWEEPS sweeps.
    """
    documents = database[collection]
    throttle, sweeps = Throttle(database, collection, work.limit), Sweeps(collection)
    after = work.begin(documents.count_documents(todo))
    while True:
        began = time.perf_counter()
        if first := documents.find_one(_all_of(todo, _above(after)), {"_id": True}, sort=BY_ID):
            after = _batch_end(database, collection, first, throttle.size)
            _change(database, collection, _all_of(todo, _between(first, after)), pipeline, work, after)
            throttle.rest(time.perf_counter() - began, own_operations=3)
        elif after is None:
            return
        else:
            after = None
        if after is None:
            sweeps.again()


def _change(
    database: Database, collection: str, batch: Document, pipeline: list[Document], work: Work, after: Document | None
) -> None:
    work.batch(
        lambda session: database[collection].update_many(batch, pipeline, hint=BY_ID, session=session).modified_count,
        after,
    )


def _batch_end(database: Database, collection: str, first: Document, count: int) -> Document | None:
    """The `_id` of the `count`th document from `first` in the order of ids, or None if there are fewer."""
    # `min` is a bound on the index for ids of all types; the query reads only the index.
    ids = database[collection].find({}, {"_id": True}, sort=BY_ID, skip=count - 1, limit=1, hint=BY_ID)
    return next(ids.min([("_id", first["_id"])]), None)


def _above(after: Document | None) -> Document:
    return {} if after is None else {"$expr": {"$gt": ["$_id", {"$literal": after["_id"]}]}}


def _between(first: Document, last: Document | None) -> Document:
    bounds = [{"$gte": ["$_id", {"$literal": first["_id"]}]}]
    if last is not None:
        bounds.append({"$lte": ["$_id", {"$literal": last["_id"]}]})
    return {"$expr": {"$and": bounds}}


def _all_of(one: Document, other: Document) -> Document:
    return {"$and": [one, other]} if other else one
