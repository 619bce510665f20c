"""Make the collections `messages` and `visits`.

A message is `{_id, text}` and nothing else. MongoDB would make a collection at the first insert; making
them here means that a misspelt name is never created by accident, and that indexes have a home. "The
newest" needs no index yet: an ObjectId begins with the second in which it was made, so the index on
`_id`, which every collection has, is nearly in order of time.

Down leaves both. To drop a collection is to drop its documents, and no `up` could bring those back.
"""

from migrations.operations import Collection

OPERATIONS = [Collection("messages"), Collection("visits")]
