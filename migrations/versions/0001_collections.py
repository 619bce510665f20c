"""Make the collections `messages` and `visits`.

A message is `{_id, text}` and nothing else. MongoDB would make a collection at the first insert; making
them here means that a misspelt name is never created by accident, and that indexes have a home. "The
newest" needs no index yet: an ObjectId begins with the second in which it was made, so the index on
`_id`, which every collection has, is nearly in order of time.
"""

from contextlib import suppress

from pymongo.errors import CollectionInvalid

from migrations.runner import Database, Progress


def up(database: Database, progress: Progress) -> str:
    missing = sorted({"messages", "visits"} - set(database.list_collection_names()))
    for name in missing:
        with suppress(CollectionInvalid):  # made meanwhile by the service, or by another runner
            database.create_collection(name)
    return f"made {' and '.join(missing)}" if missing else "both were there"
