"""Encode positions in a list as opaque cursors, and decode them.

A cursor contains its position twice, so that a truncated or edited cursor is detected, and so that a regular expression
in the schema describes exactly which cursors are accepted. In a list since a time, `s` and that time follow, in
milliseconds since 1970. Older cursors of such lists have the lowest number behind a point; they are still read.
"""

import re
from datetime import UTC, datetime, timedelta

from server.messages import Position

EPOCH = datetime.fromtimestamp(0, UTC)
MILLISECOND = timedelta(milliseconds=1)
OLDER_PATTERN = r"^(-?[0-9]{1,15}(?:[.s]-?[0-9]{1,15})?|u[0-9a-f]{24}(?:s-?[0-9]{1,15})?)~\1$"
NEWER_PATTERN = r"^([0-9]{1,15})~\1$"

_OLDER = re.compile(OLDER_PATTERN)
_NEWER = re.compile(NEWER_PATTERN)
BROKEN = "is not a cursor of this service: send one exactly as a response contained it, or leave it out"


def older(position: Position | None) -> str | None:
    """Encode the cursor for entries below `position`; None at the end of a list."""
    if position is None:
        return None
    place = f"u{position.before_id}" if position.before_id is not None else f"{position.before}"
    if position.since is not None:
        return _twice(f"{place}s{(position.since - EPOCH) // MILLISECOND}")
    return _twice(place if position.floor is None else f"{place}.{position.floor}")


def newer(seq: int) -> str:
    """Encode the cursor for entries above number `seq`."""
    return _twice(str(seq))


def read_older(text: str) -> Position:
    """Decode a cursor for older messages. Raises `ValueError`."""
    match = _OLDER.fullmatch(text)
    if match is None:
        raise ValueError(BROKEN)
    place, _, milliseconds = match[1].partition("s")
    since = _time(int(milliseconds)) if milliseconds else None
    if place.startswith("u"):
        return Position(before_id=place[1:], since=since)
    before, _, floor = place.partition(".")
    return Position(before=int(before), floor=int(floor) if floor else None, since=since)


def read_newer(text: str) -> int:
    """Decode a cursor for newer messages to its sequence number. Raises `ValueError`."""
    match = _NEWER.fullmatch(text)
    if match is None:
        raise ValueError(BROKEN)
    return int(match[1])


def _time(milliseconds: int) -> datetime:
    """The time so many milliseconds after 1970, or the end of the calendar that is next to it."""
    try:
        return EPOCH + milliseconds * MILLISECOND
    except OverflowError:
        return (datetime.max if milliseconds > 0 else datetime.min).replace(tzinfo=UTC)


def _twice(place: str) -> str:
    return f"{place}~{place}"
