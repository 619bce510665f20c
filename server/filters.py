"""Filters for a list of messages: what is below a position, in the order of the list.

Numbered documents come first, highest number first. Those of an older version, which have no number yet, follow by
their time; last of all those that have no `created_at` either, by their id. Each filter is a list of alternatives, so
that MongoDB merges as many ranges of one index. `$expr` compares values of all types, as the order does; `$lt` by
itself finds only those of its own type.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId

from server.messages import Position

Document = dict[str, Any]

BY_TIME = [("created_at", -1), ("_id", -1)]
# A missing field sorts below every number.
NEWEST_FIRST = [("seq", -1), *BY_TIME]
EPOCH = datetime.fromtimestamp(0, UTC)
NUMBERS: Document = {"$gte": -math.inf, "$lt": math.inf}
OLD_NUMBERS: Document = {"$gte": -math.inf, "$lte": 0}
UNNUMBERED: Document = {"seq": None}
SECOND = timedelta(seconds=1)
LAST_SECOND = 2**32 - 1  # of an ObjectId


def numbered(position: Position, old_floor: int | None = None) -> list[Document]:
    """The numbered documents below `position`, but not below its floor. A `seq` that is a string is no number.

    Of the numbers up to 0, those from `old_floor` on are included too.
    """
    if position.before_id is not None:
        return []
    below = {} if position.before is None else {"$lt": position.before}
    old = [] if old_floor is None else [{"seq": OLD_NUMBERS | below | {"$gte": old_floor}}]
    if _is_empty(position):
        return old
    floor = {} if position.floor is None else {"$gte": position.floor}
    return [{"seq": below | floor or {"$lte": math.inf}}, *old]


def unnumbered(position: Position, created_at: Any = None) -> list[Document]:
    """The unnumbered documents below `position`, which is that of a document with this `created_at`, if of any."""
    since = position.since
    if position.before_id is not None:
        return _below(id_of(position.before_id), created_at, since)
    if since is not None:
        return [UNNUMBERED | {"created_at": {"$gte": since}}, _untimed(since)]
    return [UNNUMBERED] if position.floor is None else []


def id_of(text: str) -> Any:
    """The id that a cursor or a path names."""
    return ObjectId(text) if ObjectId.is_valid(text) else text


def time_of_id(id: Any) -> datetime:
    """The time in an ObjectId; EPOCH for ids of other types, which contain no time."""
    return id.generation_time if isinstance(id, ObjectId) else EPOCH


def _below(id: Any, created_at: Any, since: datetime | None) -> list[Document]:
    lower_id = _less("$_id", id)
    if created_at is None:
        return [_untimed(since) | lower_id]
    same_time = UNNUMBERED | {"created_at": created_at} | lower_id
    earlier = UNNUMBERED | _less("$created_at", created_at)  # those without a time too
    if since is None:
        return [earlier, same_time]
    return [earlier | {"created_at": {"$gte": since}}, same_time, _untimed(since)]


def _untimed(since: datetime | None) -> Document:
    """Unnumbered documents without `created_at`; with `since`, those whose id is of that time or later."""
    untimed = UNNUMBERED | {"created_at": None}
    if since is None or since <= EPOCH:
        return untimed
    second = min(-((EPOCH - since) // SECOND), LAST_SECOND)  # rounded up: an id has whole seconds
    return untimed | {"_id": {"$gte": ObjectId(second.to_bytes(4, "big") + bytes(8))}}


def _less(field: str, value: Any) -> Document:
    return {"$expr": {"$lt": [field, {"$literal": value}]}}


def _is_empty(position: Position) -> bool:
    return isinstance(position.before, int) and position.floor is not None and position.before <= position.floor
