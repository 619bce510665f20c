"""Say who wrote a message, where it came from, and never store one twice.

`author` and `source` are absent in old documents, and the service reads that as `anonymous` and `api`.
Writing these defaults into every old document would cost a pass over all of them and tell nothing new.

`dedupe` is what makes repeating safe. An idempotency key, the id of a text message and the id of a Slack
event all go into this one field, each with a prefix, and the unique index lets the database decide who
was first. To look first and write then would let two through that come at the same moment.
"""

from pymongo import ASCENDING

from migrations.runner import Database, Progress


def up(database: Database, progress: Progress) -> str:
    database.messages.create_index(
        [("dedupe", ASCENDING)],
        name="dedupe",
        unique=True,
        partialFilterExpression={"dedupe": {"$exists": True}},
    )
    return "made the unique index of dedupe keys"
