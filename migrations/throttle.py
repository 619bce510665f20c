"""Adapt the size of batches, and the pauses between them, to the load on the database.

While a batch runs it takes processor time, cache and journal bandwidth from live requests. So:

- Batches should not take longer than a limit. The size is halved after a batch that did, and grows after the others:
  twofold if the batch took less than a third of the limit, by a tenth otherwise, much like TCP congestion control.
- While other clients use the collection, each batch is followed by a pause of PAUSE_RATIO times its duration. If the
  database is slow, batches take longer, and so do the pauses. Others are detected by MongoDB's count of operations on
  the collection; without others there are no pauses.
- Replication lag above MAX_LAG_SECONDS on any reachable member pauses the migration until the member has caught up. (A
  majority has each batch already; but the lagging members would be missing after the next failure.)
"""

import time
from datetime import datetime

from pymongo.errors import OperationFailure

from migrations.database import Database, Document

LIMIT_SECONDS = 0.005
MIN_SIZE, FIRST_SIZE, MAX_SIZE = 20, 100, 5000  # documents
PAUSE_RATIO = 4.0
IDLE_LIMIT_SECONDS = 0.2  # the limit while nobody else uses the collection: others may arrive during the batch
MAX_LAG_SECONDS = 10.0
DATA_BEARING = ("PRIMARY", "SECONDARY", "RECOVERING")


class Throttle:
    """Chooses the `size` of the next batch, in documents, and pauses between batches.

    `limit` is the longest that a batch should take while others use the collection, in seconds. With None there are no
    pauses, and other clients are not considered.
    """

    def __init__(self, database: Database, collection: str, limit: float | None = LIMIT_SECONDS) -> None:
        self._database = database
        self._collection = collection
        self._limit = limit
        self.size = FIRST_SIZE if limit is not None else MAX_SIZE
        self._operations = 0
        self._members = len(database.client.admin.command("hello").get("hosts", []))
        if limit is not None:
            self._others_were_active(0)

    def rest(self, seconds: float, own_operations: int) -> None:
        """Record that a batch took `seconds` and `own_operations` on the collection; return when the next may start."""
        busy = self._limit is not None and self._others_were_active(own_operations)
        limit = self._limit if self._limit and busy else IDLE_LIMIT_SECONDS
        if seconds > limit:
            self.size = max(MIN_SIZE, self.size // 2)
        else:
            self.size = min(MAX_SIZE, self.size * 2 if seconds < limit / 3 else self.size + self.size // 10)
        if busy:
            time.sleep(PAUSE_RATIO * seconds)
        while self._limit is not None and self._members > 1 and _lag(self._database) > MAX_LAG_SECONDS:
            time.sleep(1)

    def _others_were_active(self, own: int) -> bool:
        """Whether others have used the collection since the last call, besides this runner's `own` operations."""
        try:
            stats = list(self._database[self._collection].aggregate([{"$collStats": {"latencyStats": {}}}]))
        except OperationFailure:
            return True  # not authorized: assume that there are others
        counted = sum(kind["ops"] for each in stats for kind in each["latencyStats"].values())
        this_query = len(stats)  # one operation on each shard
        others = counted - self._operations - own - this_query
        self._operations = counted
        return bool(others > 0)


def _lag(database: Database) -> float:
    try:
        return lag(database.client.admin.command("replSetGetStatus"))
    except OperationFailure:
        return 0.0  # not authorized, or a sharded cluster; a majority has each batch in any case


def lag(status: Document) -> float:
    """The replication lag of the slowest reachable member in seconds, from the result of `replSetGetStatus`."""
    times: list[datetime] = [member["optimeDate"] for member in status["members"] if member["stateStr"] in DATA_BEARING]
    return (max(times) - min(times)).total_seconds() if times else 0.0
