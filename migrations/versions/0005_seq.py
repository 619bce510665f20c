"""Number all messages in one order, `seq`, so that "what came after this one" has an answer.

Times cannot give it: two messages of one millisecond have the same, and a message with an earlier time
may be stored after one with a later time. The service takes the number of a new message from a counter,
beginning with 1 (see `server/timeline.py`).

While it does so, old messages are still without a number here. Theirs count down from 0, from the newest
to the oldest: so they stay below every new one, whatever is written meanwhile, and an interrupted run goes
on below the lowest number there is. A document without `created_at` is older than all that have one.

The indexes: `number` makes each number unique, which the service relies on; `timeline` serves the newest
and pages of older ones, also while some have no number; `since` and `replies_in_order` say what they serve.
"""

from typing import Any

from pymongo import ASCENDING, DESCENDING, UpdateOne

from migrations.runner import Database, Progress

BATCH = 1000
UNNUMBERED = {"seq": None}
NEWEST_FIRST = [("created_at", DESCENDING), ("_id", DESCENDING)]


def up(database: Database, progress: Progress) -> str:
    messages = database.messages
    numbered = {"seq": {"$exists": True}}
    messages.create_index([("seq", ASCENDING)], name="number", unique=True, partialFilterExpression=numbered)
    messages.create_index([("seq", DESCENDING), *NEWEST_FIRST], name="timeline")
    messages.create_index([("created_at", ASCENDING), ("seq", ASCENDING)], name="since")
    messages.create_index(
        [("reply_to", ASCENDING), ("seq", ASCENDING)],
        name="replies_in_order",
        partialFilterExpression={"reply_to": {"$exists": True}},
    )
    total = messages.count_documents(UNNUMBERED)
    done = 0
    while batch := _next_batch(database):
        messages.bulk_write(batch, ordered=True)
        done += len(batch)
        progress(done, max(done, total))
    return f"{done} messages got their number"


def _next_batch(database: Database) -> list[UpdateOne]:
    """Numbers for the newest messages that have none, below the lowest number of an old message."""
    lowest = database.messages.find_one({"seq": {"$lte": 0}}, {"seq": True}, sort=[("seq", ASCENDING)])
    below = lowest["seq"] if lowest else 1
    found: Any = database.messages.find(UNNUMBERED, {"_id": True}, sort=NEWEST_FIRST, limit=BATCH)
    return [
        UpdateOne({"_id": document["_id"], **UNNUMBERED}, {"$set": {"seq": below - 1 - place}})
        for place, document in enumerate(found)
    ]
