"""Let a message answer another: `reply_to` holds that one's id.

Old messages answer nothing, and a field that is absent says so already: there is no data to migrate,
only an index to make. It is partial, because most messages answer nothing and need no entry in it.
"""

from pymongo import ASCENDING

from migrations.runner import Database, Progress


def up(database: Database, progress: Progress) -> str:
    database.messages.create_index(
        [("reply_to", ASCENDING), ("_id", ASCENDING)],
        name="replies",
        partialFilterExpression={"reply_to": {"$exists": True}},
    )
    return "made the index of replies"
