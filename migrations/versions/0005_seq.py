"""Number all messages in one order, `seq`, so that "what came after this one" has an answer.

Times cannot give it: two messages of one millisecond have the same, and a message with an earlier time
may be stored after one with a later time. The service takes the number of a new message from a counter,
beginning with 1 (see `server/timeline.py`).

While it does so, old messages are still without a number here. Theirs count down from 0, from the newest
to the oldest: so they stay below every new one, whatever is written meanwhile, and an interrupted run goes
on below the lowest number there is. A document without `created_at` is older than all that have one.

The indexes: `number` makes each number unique, which the service relies on; `timeline` serves the newest
and pages of older ones, also while some have no number; `since` and `replies_in_order` say what they serve.

Down takes back the numbers from 0 downwards. Up gives the same again, unless a server of an older version
added messages while it ran: those then get their place in the order of time.
"""

import functools
import time

from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession

from migrations.backfill import Sweeps, Work, walk
from migrations.database import Database
from migrations.operations import Found, Index, found
from migrations.throttle import Throttle

UNNUMBERED = {"seq": None}
COUNTED_DOWN = {"seq": {"$lte": 0}}
AT_ONCE = 1000  # each looks for its place among all: the cost grows with the square
NEWEST_FIRST = [("created_at", DESCENDING), ("_id", DESCENDING)]


class CountDown:
    """Numbers for old messages. Not a `Backfill`: which number a message gets depends on those before it."""

    def touches(self, database: Database) -> int:
        return database.messages.count_documents(UNNUMBERED)

    def is_done(self, database: Database) -> bool:
        return database.messages.find_one(UNNUMBERED, {"_id": True}) is None

    def up(self, database: Database, work: Work) -> str:
        throttle, sweeps = Throttle(database, "messages", work.limit), Sweeps("messages")
        work.begin(self.touches(database))
        while not self.is_done(database):
            began, size = time.perf_counter(), min(throttle.size, AT_ONCE)
            numbered = work.batch(functools.partial(_number, database, size))
            if numbered < size:
                sweeps.again()
            throttle.rest(time.perf_counter() - began, own_operations=4)
        return f"{work.done} messages got their number"

    def down(self, database: Database, work: Work) -> str:
        walk(database, "messages", COUNTED_DOWN, [{"$unset": "seq"}], work)
        return f"{work.done} messages lost their number"

    def offenders(self, database: Database) -> list[Found]:
        return found(database, "messages", UNNUMBERED, "messages without a number")

    def left(self, database: Database) -> list[Found]:
        return []


def _number(database: Database, size: int, session: ClientSession) -> int:
    """Number the `size` newest messages that have none, below the lowest number of an old message."""
    messages = database.messages
    lowest = messages.find_one(COUNTED_DOWN, {"seq": True}, sort=[("seq", ASCENDING)], session=session)
    next_number = lowest["seq"] - 1 if lowest else 0
    unnumbered = messages.find(
        UNNUMBERED, {"_id": True}, sort=NEWEST_FIRST, limit=size, batch_size=size, session=session
    )
    ids = [each["_id"] for each in unnumbered]
    # One update for all of them, in which each finds its own place: much faster than one for each.
    place = {"$indexOfArray": [{"$literal": ids}, "$_id"]}
    number = [{"$set": {"seq": {"$subtract": [next_number, place]}}}]
    return messages.update_many({"_id": {"$in": ids}} | UNNUMBERED, number, session=session).modified_count


OPERATIONS = [
    Index(
        "number",
        [("seq", ASCENDING)],
        {"unique": True, "partialFilterExpression": {"seq": {"$exists": True}}},
    ),
    Index("timeline", [("seq", DESCENDING), *NEWEST_FIRST]),
    Index("since", [("created_at", ASCENDING), ("seq", ASCENDING)]),
    Index(
        "replies_in_order",
        [("reply_to", ASCENDING), ("seq", ASCENDING)],
        {"partialFilterExpression": {"reply_to": {"$exists": True}}},
    ),
    CountDown(),
]
