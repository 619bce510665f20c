"""Give every message a `created_at`, and an index to read the newest by it.

What time did the old messages have? Not now: a migration that writes "now" claims that all of history
happened during the deployment. Their ObjectId knows, to the second, when a driver made it. A document
whose `_id` is a string or a number holds no time; it is left as it is and reported, because a made-up
time could never again be told from a true one. One that already has a `created_at` keeps it.

`{$toDate: "$_id"}` fails on the first `_id` that is no ObjectId, in the middle of the work; the filter
on the type keeps such documents away from it. Void numbers (0005) are no messages, and have no time.

The index comes first: servers that know `created_at` use it already while old documents are filled in.

Down takes away only the times that up gives, and knows them by their being the time in the id. A time
that a server or an import had written stays: up could not give it back.
"""

from pymongo import DESCENDING

from migrations.operations import Backfill, Index

WITHOUT_TIME = {"created_at": None, "void": None}
WITH_OBJECT_ID = {"_id": {"$type": "objectId"}}
# Like $toDate, but null for what is no ObjectId: in a filter, no order of evaluation is promised.
TIME_IN_ID = {"$convert": {"input": "$_id", "to": "date", "onError": None}}

OPERATIONS = [
    Index("newest", [("created_at", DESCENDING), ("_id", DESCENDING)]),
    Backfill(
        what="the time in their id",
        todo=WITHOUT_TIME | WITH_OBJECT_ID,
        pipeline=[{"$set": {"created_at": {"$toDate": "$_id"}}}],
        undo_todo=WITH_OBJECT_ID | {"created_at": {"$type": "date"}, "$expr": {"$eq": ["$created_at", TIME_IN_ID]}},
        undo=[{"$unset": "created_at"}],
        exceptions=WITHOUT_TIME | {"_id": {"$not": {"$type": "objectId"}}},
        exceptions_are="have an _id that holds no time, and stay without created_at",
    ),
]
