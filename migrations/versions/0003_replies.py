"""Let a message answer another: `reply_to` holds that one's id.

Old messages answer nothing, and a field that is absent says so already: there is no data to migrate,
only an index to make. It is partial, because most messages answer nothing and need no entry in it.

Down drops the index. Replies keep their `reply_to`: nothing could give it back.
"""

from pymongo import ASCENDING

from migrations.operations import Index

ANSWERS = {"partialFilterExpression": {"reply_to": {"$exists": True}}}

OPERATIONS = [Index("replies", [("reply_to", ASCENDING), ("_id", ASCENDING)], ANSWERS)]
