"""Parse times as people write them: 10am, yesterday, 2h, or RFC 3339."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?\s*(am|pm)?")
EXAMPLES = "10am, 10:00, yesterday, 2h, or 2024-02-29T12:00:00Z"


def parse(text: str, now: datetime | None = None, zone: tzinfo | None = None) -> datetime:
    """Parse a time of day, an interval before `now` (2h), a day, or an RFC 3339 time to a timezone-aware datetime.

    A time of day means its latest occurrence, and a day its first moment, in `zone` (the machine's by default).
    Raises `ValueError` with examples.
    """
    now = (now or datetime.now(UTC)).astimezone(zone)
    written = text.strip().lower()
    if written in ("today", "yesterday"):
        return _beginning(now.date() - timedelta(days=written == "yesterday"), zone)
    if match := AGO.fullmatch(written):
        return now - timedelta(**{UNITS[match[2]]: int(match[1])})
    match = CLOCK.fullmatch(written)
    if match and (match[2] or match[3]):
        clock = _time_of_day(text, match)
        today = _in_zone(datetime.combine(now.date(), clock), zone)
        return today if today <= now else _in_zone(datetime.combine(now.date() - timedelta(days=1), clock), zone)
    try:
        when = datetime.fromisoformat(text.strip().upper())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time: write one such as {EXAMPLES}") from error
    return _in_zone(when, zone) if when.tzinfo is None else when


def _time_of_day(text: str, match: re.Match[str]) -> time:
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
    if half and not 1 <= hour <= 12:
        raise ValueError(f"{text!r} is not a time of day: am and pm go with 1 to 12")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    try:
        return time(hour, minute)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time of day: write one such as {EXAMPLES}") from error


def _beginning(day: date, zone: tzinfo | None) -> datetime:
    return _in_zone(datetime.combine(day, time()), zone)


def _in_zone(naive: datetime, zone: tzinfo | None) -> datetime:
    """Make a naive time aware: in `zone`, or by the machine's time zone rules with their daylight saving time."""
    return naive.astimezone() if zone is None else naive.replace(tzinfo=zone)
