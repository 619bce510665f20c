"""Say who wrote a message, where it came from, and never store one twice.

`author` and `source` are absent in old documents, and the service reads that as `anonymous` and `api`.
Writing these defaults into every old document would cost a pass over all of them and tell nothing new.

`dedupe` is what makes repeating safe. An idempotency key, the id of a text message and the id of a Slack
event all go into this one field, each with a prefix, and the unique index lets the database decide who
was first. To look first and write then would let two through that come at the same moment. (A server that
ran without this index may have let them through: then the index cannot be made, and up names the key.)

Down drops the index, and no field: nothing could give them back.
"""

from pymongo import ASCENDING

from migrations.operations import Index

WITH_KEY = {"partialFilterExpression": {"dedupe": {"$exists": True}}}

OPERATIONS = [Index("dedupe", [("dedupe", ASCENDING)], {"unique": True} | WITH_KEY)]
