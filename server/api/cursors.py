"""Cursors: places in the order of messages, as text that callers pass back and do not read.

A cursor holds its number twice. That is enough to notice one that was cut off or edited by hand, and a
pattern can say it, so the schema tells exactly which cursors are accepted.
"""

import re

from server.messages import Position

OLDER_PATTERN = r"^(-?[0-9]{1,15}(?:\.-?[0-9]{1,15})?|u[0-9a-f]{24})~\1$"
NEWER_PATTERN = r"^([0-9]{1,15})~\1$"

_OLDER = re.compile(OLDER_PATTERN)
_NEWER = re.compile(NEWER_PATTERN)
BROKEN = "is not a cursor of this service: pass one back exactly as an answer gave it, or leave it out"


def older(position: Position | None) -> str | None:
    """The cursor for what is below `position`, None for nothing."""
    if position is None:
        return None
    place = f"u{position.before_id}" if position.before_id is not None else f"{position.before}"
    return _twice(place if position.floor is None else f"{place}.{position.floor}")


def newer(seq: int) -> str:
    """The cursor for what comes after number `seq`."""
    return _twice(str(seq))


def read_older(text: str) -> Position:
    """The position in a cursor for older messages. Raises `ValueError`."""
    match = _OLDER.fullmatch(text)
    if match is None:
        raise ValueError(BROKEN)
    place = match[1]
    if place.startswith("u"):
        return Position(before_id=place[1:])
    before, _, floor = place.partition(".")
    return Position(before=int(before), floor=int(floor) if floor else None)


def read_newer(text: str) -> int:
    """The number in a cursor for newer messages. Raises `ValueError`."""
    match = _NEWER.fullmatch(text)
    if match is None:
        raise ValueError(BROKEN)
    return int(match[1])


def _twice(place: str) -> str:
    return f"{place}~{place}"
