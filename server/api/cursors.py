"""Encode positions in a list as opaque cursors, and decode them.

A cursor contains its position twice, so that a truncated or edited cursor is detected, and so that a regular expression
in the schema describes exactly which cursors are accepted.
"""

import re

from server.messages import Position

OLDER_PATTERN = r"^(-?[0-9]{1,15}(?:\.-?[0-9]{1,15})?|u[0-9a-f]{24})~\1$"
NEWER_PATTERN = r"^([0-9]{1,15})~\1$"

_OLDER = re.compile(OLDER_PATTERN)
_NEWER = re.compile(NEWER_PATTERN)
BROKEN = "is not a cursor of this service: send one exactly as a response contained it, or leave it out"


def older(position: Position | None) -> str | None:
    """Encode the cursor for entries below `position`; None at the end of a list."""
    if position is None:
        return None
    place = f"u{position.before_id}" if position.before_id is not None else f"{position.before}"
    return _twice(place if position.floor is None else f"{place}.{position.floor}")


def newer(seq: int) -> str:
    """Encode the cursor for entries above number `seq`."""
    return _twice(str(seq))


def read_older(text: str) -> Position:
    """Decode a cursor for older messages. Raises `ValueError`."""
    match = _OLDER.fullmatch(text)
    if match is None:
        raise ValueError(BROKEN)
    place = match[1]
    if place.startswith("u"):
        return Position(before_id=place[1:])
    before, _, floor = place.partition(".")
    return Position(before=int(before), floor=int(floor) if floor else None)


def read_newer(text: str) -> int:
    """Decode a cursor for newer messages to its sequence number. Raises `ValueError`."""
    match = _NEWER.fullmatch(text)
    if match is None:
        raise ValueError(BROKEN)
    return int(match[1])


def _twice(place: str) -> str:
    return f"{place}~{place}"
