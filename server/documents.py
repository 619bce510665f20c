"""Documents of the collection `messages`, of any version of the data model, and what is in them."""

import math
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args

from bson import Decimal128

from server import filters
from server.messages import Message, Source

Document = dict[str, Any]

SOURCES = get_args(Source)


class NoMessage(Exception):
    """A document is none. The text says why."""


def message_in(document: Document) -> Message:
    """Make a message from a document of any version of the data model (see `migrations/versions`).

    Raises `NoMessage` for what the service cannot have written.
    """
    text, author, reply_to = document.get("text"), document.get("author", "anonymous"), document.get("reply_to")
    created_at, source, seq = document.get("created_at"), document.get("source", "api"), document.get("seq")
    if not (isinstance(text, str) and isinstance(author, str) and source in SOURCES):
        raise NoMessage("its text, its author or its source is none")
    if not (created_at is None or isinstance(created_at, datetime)):
        raise NoMessage("its created_at is no time between the years 1 and 9999")
    if seq is not None and number_of(seq) is None:
        raise NoMessage("its seq is no whole number")
    return Message(
        id=str(document["_id"]),
        text=text,
        author=author,
        created_at=created_at or filters.time_of_id(document["_id"]),
        reply_to=None if reply_to is None else str(reply_to),
        source=source,
        seq=number_of(seq),
    )


def number_of(value: Any) -> int | None:
    """A sequence number, also one that a JavaScript shell has written; None if it is none."""
    value = plain(value)
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return int(value) if is_number and math.isfinite(value) and value % 1 == 0 else None


def plain(value: Any) -> Any:
    """A number that Python can calculate with."""
    return value.to_decimal() if isinstance(value, Decimal128) else value


def is_since(created_at: Any, since: datetime) -> bool:
    """Whether a time is `since` or later. Messages without one are older than all others."""
    return isinstance(created_at, datetime) and created_at >= since
