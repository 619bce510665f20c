"""Change documents in bounded batches, in the order of their ids, while others go on writing.

One `updateMany` over a large collection cannot be resumed or paced, and the driver does not retry it. Here
each batch is a range of ids with a filter for what still needs the change, so a batch that is done twice
changes nothing more.

Ids have an order, whatever their types (numbers, strings, ObjectIds, …), but `{"_id": {"$gt": x}}` finds
only ids of the type of x. Inside `$expr` the same comparison goes by the order of all types.

The order of ids is not the order of arrival: an ObjectId carries the clock of the machine that made it, so
a server of the older version may insert below the place we have reached. Therefore the end of the
collection is not the end of the work: we begin again until the filter finds nothing at all.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pymongo import ASCENDING
from pymongo.client_session import ClientSession

from migrations.database import Database, Document, MigrationError
from migrations.lease import Lease
from migrations.throttle import LIMIT_SECONDS, Throttle

SWEEPS = 100
BY_ID = [("_id", ASCENDING)]

# Called with how many documents are done, of how many; never with more than there are.
Progress = Callable[[int, int], None]


@dataclass
class Work:
    """What an operation needs in order to write in batches, and to say how far it is.

    `key` names the operation in checkpoints, so that an interrupted run finds its own. `limit` is the
    throttle's, in seconds, or None.
    """

    lease: Lease
    key: str
    progress: Progress = lambda done, total: None
    limit: float | None = LIMIT_SECONDS
    done: int = 0
    total: int = 0

    def begin(self, todo: int) -> Document | None:
        """Say how many documents are still to be changed; returns `{_id}` of the last one done, None if none is."""
        kept = self.lease.checkpoint or {}
        if kept.get("key") != self.key:
            kept = {"done": 0, "after": None}
        self.done, self.total = kept["done"], kept["done"] + todo
        self.progress(self.done, self.total)
        return kept["after"]  # type: ignore[no-any-return]

    def batch(self, change: Callable[[ClientSession], int], after: Document | None = None) -> int:
        """Write one batch; everything up to `after` is then done. `change` returns how many documents it changed."""
        before = self.done

        def transaction(session: ClientSession) -> Document:
            self.done = before + change(session)
            return {"key": self.key, "done": self.done, "after": after}

        self.lease.write(transaction)
        self.total = max(self.total, self.done)
        self.progress(self.done, self.total)
        return self.done - before


class Sweeps:
    """Counts how often a work begins again, because documents of the older shape were written behind its back."""

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._count = 0

    def again(self) -> None:
        """Count one more. Raises `MigrationError` if there is no end to it."""
        self._count += 1
        if self._count > SWEEPS:
            raise MigrationError(
                f"documents of an older shape keep coming into {self._collection}: "
                "stop the servers of the older version, then run this again"
            )


def walk(database: Database, collection: str, todo: Document, pipeline: list[Document], work: Work) -> None:
    """Apply `pipeline` to what `todo` finds, which then does not find it any more, until it finds nothing.

    Raises `LeaseLost`, and `MigrationError` if there is no end to it.
    """
    documents = database[collection]
    throttle, sweeps = Throttle(database, collection, work.limit), Sweeps(collection)
    after = work.begin(documents.count_documents(todo))
    while True:
        began = time.perf_counter()
        if first := documents.find_one(_both(todo, _above(after)), {"_id": True}, sort=BY_ID):
            after = _further(database, collection, first, throttle.size)
            _change(database, collection, _both(todo, _between(first, after)), pipeline, work, after)
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


def _further(database: Database, collection: str, first: Document, count: int) -> Document | None:
    """The `count`th document from `first` on, in the order of ids, or None if there are fewer."""
    # `min` is a place in the index, whatever the types of ids: this reads the index only.
    ids = database[collection].find({}, {"_id": True}, sort=BY_ID, skip=count - 1, limit=1, hint=BY_ID)
    return next(ids.min([("_id", first["_id"])]), None)


def _above(after: Document | None) -> Document:
    return {} if after is None else {"$expr": {"$gt": ["$_id", {"$literal": after["_id"]}]}}


def _between(first: Document, last: Document | None) -> Document:
    bounds = [{"$gte": ["$_id", {"$literal": first["_id"]}]}]
    if last is not None:
        bounds.append({"$lte": ["$_id", {"$literal": last["_id"]}]})
    return {"$expr": {"$and": bounds}}


def _both(one: Document, other: Document) -> Document:
    return {"$and": [one, other]} if other else one
