"""The query parameters of each list, as models: they validate requests and describe them in the schema."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from server.api import cursors
from server.messages import DEFAULT_LIMIT, MAX_LIMIT, MAX_REPLIES, Position

RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
WITHOUT_OFFSET = re.compile(r"\d{4}-\d\d-\d\d([Tt ][\d:.]*)?")
UNESCAPED_PLUS = re.compile(r".*\d \d\d:\d\d")
EARLIEST = datetime.min.replace(tzinfo=UTC)


def _time(text: str) -> datetime:
    """Parse an RFC 3339 time with an offset to a time in UTC. Raises `ValueError`, which says how to correct it."""
    match = RFC_3339.fullmatch(text)
    if match is None:
        if WITHOUT_OFFSET.fullmatch(text):
            raise ValueError(f"has no offset from UTC: write {text[:10]}T12:00:00Z, or add one such as +02:00")
        if UNESCAPED_PLUS.fullmatch(text):
            raise ValueError("contains a space in place of a +: in a URL, write + as %2B")
        raise ValueError("is not a time: write one as in RFC 3339, such as 2024-02-29T12:00:00Z")
    day, minute, second, fraction, offset = match.groups()
    leap = second == "60"  # datetime has no leap seconds: use the second before
    try:
        time = datetime.fromisoformat(
            f"{day}T{minute}:{'59' if leap else second}{(fraction or '')[:7]}{offset.upper()}"
        )
        return time.astimezone(UTC)
    except OverflowError:
        return EARLIEST if day < "2000" else datetime.max.replace(tzinfo=UTC)
    except ValueError as error:
        if day.startswith("0000"):  # a year that Python does not have; its calendar is that of the year 4
            _time(f"0004{text[4:]}")
            return EARLIEST
        raise ValueError(f"does not exist in the calendar ({error})") from error


def _text(pattern: str, description: str) -> Any:
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description})


def _digits(text: str) -> str:
    if not re.fullmatch(r"[+-]?[0-9]{1,15}", text):
        raise ValueError("is not a whole number: write one such as 20")
    return text


Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Maximum number of messages."), BeforeValidator(_digits)]
Time = Annotated[
    datetime,
    PlainValidator(_time),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "Only messages created then or later."}),
]
Older = Annotated[
    Position,
    PlainValidator(cursors.read_older),
    _text(cursors.OLDER_PATTERN, "The `next` of a response: continue with older messages."),
]
Newer = Annotated[
    int,
    PlainValidator(cursors.read_newer),
    _text(cursors.NEWER_PATTERN, "The `newest` of a response: the messages after it, oldest first."),
]
FurtherReplies = Annotated[
    int, PlainValidator(cursors.read_newer), _text(cursors.NEWER_PATTERN, "The `next` of a response: continue.")
]


class Query(BaseModel):
    """Base class of query parameters: unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(Query):
    """`GET /messages`. `since`, `cursor` and `after` can be combined, and each restricts the list."""

    limit: Limit = DEFAULT_LIMIT
    since: Time | None = None
    cursor: Older | None = None
    after: Newer | None = None


class RepliesQuery(Query):
    """`GET /messages/{id}/replies`."""

    limit: Limit = MAX_REPLIES
    cursor: FurtherReplies = 0


class NoQuery(Query):
    """Requests without query parameters."""
