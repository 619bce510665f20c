"""Let MongoDB refuse whatever is no message of today's shape.

Until here the older shapes were allowed, so that servers of several versions could write at the same time.
This step ends that: it is the "contract" of expand, backfill, verify, contract. It comes last and alone,
because it is the first that can make a running server fail. Stop the servers of the older versions first.

It refuses to begin while `verify` shows offenders. The validation is strict, for updates of old documents
too: after the proof there is no document left that it could hurt. (With the level `moderate`, which spares
documents that were wrong before, one would never know whether there are any.)

What the service does not know may be there: a newer version must be able to add a field before it changes
the schema. A document whose `_id` is no ObjectId may lack `created_at`, as step 0002 explains.

Down removes the schema. The documents were never changed, so down and up again leave them as they are.
"""

from migrations.operations import Validator

OBJECT_ID = {"bsonType": "objectId"}
NUMBER = {"bsonType": ["int", "long"]}
STRING = {"bsonType": "string"}

MESSAGE = {
    "required": ["text", "seq"],
    "properties": {
        "text": STRING,
        "author": STRING,
        "source": {"enum": ["api", "sms", "slack"]},
        "reply_to": OBJECT_ID,
        "dedupe": STRING,
        "fingerprint": STRING,
        "seq": NUMBER,
        "void": {"enum": [False, None]},
    },
    "anyOf": [
        {"required": ["created_at"], "properties": {"created_at": {"bsonType": "date"}}},
        {"properties": {"_id": {"not": OBJECT_ID}, "created_at": {"bsonType": "null"}}},
    ],
}
# A number that was given out and never used: see `server/timeline.py`.
VOID = {"required": ["seq", "void"], "properties": {"seq": NUMBER, "void": {"enum": [True]}}}

OPERATIONS = [Validator({"bsonType": "object", "anyOf": [MESSAGE, VOID]})]
