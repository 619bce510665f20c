"""How large the next batch is, and how long to rest before it: by what batches do to others.

A batch takes from live requests the processor, the cache and the journal for as long as it lasts. So:

- No batch is to take longer than the limit. One that did halves the size of the next; the others let it
  grow, far below the limit twofold and near it by a tenth, as TCP does it with what it sends.
- While others use the collection, most of the time is theirs: after each batch we rest for some times as
  long as it took. A database that is slow for everybody makes our batches slow, and the rests longer.
  MongoDB counts the operations on each collection; those that are not ours are somebody else's. With
  nobody else there, nobody is waited for.
- A member of the replica set that cannot keep up stops us until it has caught up. (A majority has every
  batch already; this is about the others, which would be missing in the next failure.)
"""

import time
from datetime import datetime

from pymongo.errors import OperationFailure

from migrations.database import Database, Document

LIMIT_SECONDS = 0.005
SMALLEST, FIRST, LARGEST = 20, 100, 5000
REST = 4.0
ALONE_SECONDS = 0.2  # a limit all the same: somebody may come while the batch runs
LAG_SECONDS = 10.0
CARRY_DATA = ("PRIMARY", "SECONDARY", "RECOVERING")


class Throttle:
    """`size` documents may be changed by the next batch; `rest` after it.

    With the `limit` None others are not asked for, and there is no rest.
    """

    def __init__(self, database: Database, collection: str, limit: float | None = LIMIT_SECONDS) -> None:
        self._database = database
        self._collection = collection
        self._limit = limit
        self.size = FIRST if limit is not None else LARGEST
        self._operations = 0
        self._members = len(database.client.admin.command("hello").get("hosts", []))
        if limit is not None:
            self._others_since(0)

    def rest(self, seconds: float, own_operations: int) -> None:
        """Learn that a batch took `seconds` and `own_operations` on the collection; return when the next may begin."""
        busy = self._limit is not None and self._others_since(own_operations)
        limit = self._limit if self._limit and busy else ALONE_SECONDS
        if seconds > limit:
            self.size = max(SMALLEST, self.size // 2)
        else:
            self.size = min(LARGEST, self.size * 2 if seconds < limit / 3 else self.size + self.size // 10)
        if busy:
            time.sleep(REST * seconds)
        while self._limit is not None and self._members > 1 and _lag(self._database) > LAG_SECONDS:
            time.sleep(1)

    def _others_since(self, own: int) -> bool:
        """Whether anybody else has used the collection since this was asked last."""
        try:
            stats = list(self._database[self._collection].aggregate([{"$collStats": {"latencyStats": {}}}]))
        except OperationFailure:
            return True  # not allowed to know: be polite
        counted = sum(kind["ops"] for each in stats for kind in each["latencyStats"].values())
        asking = len(stats)  # one for each shard
        others = counted - self._operations - own - asking
        self._operations = counted
        return bool(others > 0)


def _lag(database: Database) -> float:
    try:
        return lag(database.client.admin.command("replSetGetStatus"))
    except OperationFailure:
        return 0.0  # not allowed to know, or a sharded cluster; a majority has everything in any case


def lag(status: Document) -> float:
    """Seconds by which the slowest member that can be reached is behind, from `replSetGetStatus`."""
    times: list[datetime] = [member["optimeDate"] for member in status["members"] if member["stateStr"] in CARRY_DATA]
    return (max(times) - min(times)).total_seconds() if times else 0.0
