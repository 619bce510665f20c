"""Give every message a `created_at`, and an index to read the newest by it.

What time did the old messages have? Not now: a migration that writes "now" claims that all of history
happened during the deployment. Their ObjectId knows, to the second, when a driver made it. A document
whose `_id` is a string or a number holds no time; it is left as it is and reported, because a made-up
time could never again be told from a true one. One that already has a `created_at` keeps it.

`{$toDate: "$_id"}` fails on the first `_id` that is no ObjectId, in the middle of the work; the filter
on the type keeps such documents away from it. `updateMany` is not retried by the driver, so the work
goes in ranges of `_id`, each of which can be done again without harm.
"""

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING

from migrations.runner import Database, Document, Progress

BATCH = 1000
WITHOUT_TIME = {"created_at": None}
WITH_OBJECT_ID = {"_id": {"$type": "objectId"}}


def up(database: Database, progress: Progress) -> str:
    messages = database.messages
    # The index first: writers that know `created_at` already use it while old documents are filled in.
    messages.create_index([("created_at", DESCENDING), ("_id", DESCENDING)], name="newest")

    total = messages.count_documents(WITHOUT_TIME | WITH_OBJECT_ID)
    done, last = 0, ObjectId("0" * 24)
    while batch := _next_ids(database, last):
        last = batch[-1]
        in_batch: Document = {"_id": {"$gte": batch[0], "$lte": last, "$type": "objectId"}}
        done += messages.update_many(
            WITHOUT_TIME | in_batch, [{"$set": {"created_at": {"$toDate": "$_id"}}}]
        ).modified_count
        progress(done, max(done, total))

    left = messages.count_documents(WITHOUT_TIME)
    return f"{done} messages got the time in their id" + (
        f"; {left} have an _id that holds no time, and stay without created_at" if left else ""
    )


def _next_ids(database: Database, last: ObjectId) -> list[ObjectId]:
    found = database.messages.find(
        WITHOUT_TIME | {"_id": {"$gt": last, "$type": "objectId"}}, {"_id": 1}, sort=[("_id", ASCENDING)], limit=BATCH
    )
    return [document["_id"] for document in found]
