"""Find the documents among the messages that are none: the service passes them over.

What a message is, is said to the service by `server/store.py`; a test compares the two. Types are compared inside
`$expr`: the query operators look into arrays too.
"""

from datetime import UTC, datetime
from typing import Any

from migrations.database import Database, Document
from migrations.operations import Found, found

SOURCES = ["api", "sms", "slack"]
YEAR_1, YEAR_9999 = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
LARGEST = 10**15  # a cursor has fifteen digits

CURE = "the service passes them over: correct or delete them"


def no_messages(database: Database) -> list[Found]:
    """The documents that are no messages, by what is wrong with them."""
    return [
        each
        for what, condition in ODD.items()
        for each in found(database, "messages", {"$expr": condition}, f"documents {what}; {CURE}")
    ]


def _is(field: str, *types: str) -> Document:
    """A condition: the field is of one of these types."""
    return {"$in": [{"$type": f"${field}"}, list(types)]}


def _both(one: Document, other: Document) -> Document:
    return {"$and": [one, other]}


def _within(field: str, lowest: Any, highest: Any) -> Document:
    return _both({"$gte": [f"${field}", lowest]}, {"$lte": [f"${field}", highest]})


def _message_without(condition: Document) -> Document:
    return _both(IS_NOT_VOID, {"$not": [condition]})


# `$trunc` fails for what is no number, so `$cond` keeps that away from it.
IS_WHOLE = _both(_within("seq", -LARGEST, LARGEST), {"$eq": ["$seq", {"$trunc": ["$seq"]}]})
HAS_WHOLE_NUMBER = {"$cond": [_is("seq", "int", "long", "double", "decimal"), IS_WHOLE, False]}
IS_NOT_VOID = {"$in": [{"$ifNull": ["$void", False]}, [False, 0, ""]]}
ODD = {
    "that have no text": _message_without(_is("text", "string")),
    "whose author is no text": _message_without(_is("author", "string", "missing")),
    "whose source is none of the service's": _message_without(
        {"$or": [_is("source", "missing"), {"$in": ["$source", SOURCES]}]}
    ),
    "whose created_at is no time between the years 1 and 9999": _message_without(
        {
            "$or": [
                _is("created_at", "missing", "null"),
                _both(_is("created_at", "date"), _within("created_at", YEAR_1, YEAR_9999)),
            ]
        }
    ),
    "whose seq is no whole number": _message_without({"$or": [_is("seq", "missing", "null"), HAS_WHOLE_NUMBER]}),
    "that are void and have no number": _both({"$not": [IS_NOT_VOID]}, {"$not": [HAS_WHOLE_NUMBER]}),
}
