"""The order that step 0005 promises: times never fall as numbers grow, among old messages and among new ones.

Old messages, from before the numbering, have the numbers from 0 downwards, in the order of (created_at, _id); those
without `created_at` have the lowest. New ones have the numbers from 1 upwards, in the order of their times. Every old
message is below every new one, whatever its time: a server of an older version may have stored it meanwhile.

Step 0005 gives numbers below the lowest that there is. That is right for messages that are older than all old ones
with a number, and wrong for others: after a `down` that was interrupted, or when a server of an older version has
written since. Then the numbers of the old messages are taken back first, and given anew.
"""

from datetime import UTC, datetime
from itertools import pairwise
from types import NoneType

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING

from migrations.database import Database, Document
from migrations.operations import MAX_IDS, Found, Index, Operation
from migrations.steps import Step

STEP, INDEX = "0005_seq", "timeline"
OLD = {"$lte": 0}
NEW = {"$gte": 1}
PLACE = {"seq": True, "created_at": True}
BEFORE_ALL, YEAR_9999 = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
NEWEST_FIRST = [("seq", DESCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)]


def gives_numbers(step: Step, operation: Operation) -> bool:
    """Whether it is the operation of step 0005 that gives old messages their numbers."""
    return step.name == STEP and not isinstance(operation, Index)


def would_break(database: Database) -> bool:
    """Whether a message without a number is newer than one that has an old message's number."""
    lowest = database.messages.find_one({"seq": OLD}, PLACE, sort=[("seq", ASCENDING)])
    unnumbered = {"seq": None, "created_at": {"$lte": YEAR_9999}}
    newest = database.messages.find_one(unnumbered, PLACE, sort=NEWEST_FIRST, hint=INDEX)
    return lowest is not None and newest is not None and _is_older(lowest, newest, with_id=True)


def offenders(database: Database) -> list[Found]:
    """The messages that are out of order. Reads all of them."""
    return old_offenders(database) + _falls(
        database, NEW, with_id=False,
        what="messages that are older than the one with the number before, so that lists since a time may lack them: "
        "correct their created_at",
    )  # fmt: skip


def old_offenders(database: Database) -> list[Found]:
    """The old messages that are out of order. Reads all of them."""
    return _falls(
        database, OLD, with_id=True,
        what="old messages that are older than the one with the number before: "
        "`python -m migrations down 0004` and then `python -m migrations up` number them anew",
    )  # fmt: skip


def _falls(database: Database, numbers: Document, with_id: bool, what: str) -> list[Found]:
    if INDEX not in database.messages.index_information():
        return []  # no order was promised, and all would have to be sorted
    # The index covers the query. Of new numbers, those without a time are void.
    messages = database.messages.find({"seq": numbers}, PLACE, sort=[("seq", ASCENDING)], hint=INDEX)
    times: tuple[type, ...] = (datetime, NoneType) if numbers == OLD else (datetime,)
    with_time = (each for each in messages if isinstance(each.get("created_at"), times))
    ids = [later["_id"] for earlier, later in pairwise(with_time) if _is_older(later, earlier, with_id)]
    return [Found(len(ids), what, tuple(ids[:MAX_IDS]))] if ids else []


def _is_older(one: Document, other: Document, with_id: bool) -> bool:
    """Whether `one` comes before `other` in the order of `created_at`; of equal times, by the id too if `with_id`."""
    times = [_time(each) for each in (one, other)]
    if times[0] != times[1] or not with_id:
        return times[0] < times[1]
    ids = [one["_id"], other["_id"]]
    return all(isinstance(id, ObjectId) for id in ids) and ids[0] < ids[1]


def _time(message: Document) -> datetime:
    time = message.get("created_at")
    return time if isinstance(time, datetime) else BEFORE_ALL
