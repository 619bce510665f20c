"""Parse times as people write them: 10am, yesterday, 2h, or RFC 3339."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?\s*(am|pm)?")
EXAMPLES = "10am, 10:00, yesterday, 2h, or 2024-02-29T12:00:00Z"


def parse(text: str, now: datetime | None = None, zone: tzinfo | None = None) -> datetime:
    """Parse a time of day, an interval before `now` (2h), a day, or an RFC 3339 time to a timezone-aware datetime.

    A time of day means its latest occurrence, and a day its first moment, in `zone` (the machine's by default).
    Raises `ValueError` with examples.
    """
    now = now or datetime.now(UTC)
    written = text.strip().lower()
    match = CLOCK.fullmatch(written)
    clock = _time_of_day(text, match) if match and (match[2] or match[3]) else None
    try:
        if clock:
            when = _last(clock, now, zone)
        elif written in ("today", "yesterday"):
            when = _on_day(now, written == "yesterday", time(), zone)
        elif match := AGO.fullmatch(written):
            when = (now.astimezone(UTC) - timedelta(**{UNITS[match[2]]: int(match[1])})).astimezone(zone)
        else:
            when = datetime.fromisoformat(text.strip().upper())
            when = _in_zone(when, zone) if when.tzinfo is None else when
        when.astimezone(UTC)  # refuses what is before the first day that UTC can name, or after the last
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: write one such as {EXAMPLES}") from error
    return when


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


def _last(clock: time, now: datetime, zone: tzinfo | None) -> datetime:
    """The last time that clocks in `zone` showed `clock`."""
    today = _on_day(now, 0, clock, zone)
    # Compared in UTC: where clocks were put forward past it, a time of today may still be to come.
    return today if today.astimezone(UTC) <= now.astimezone(UTC) else _on_day(now, 1, clock, zone)


def _on_day(now: datetime, days_before: int, clock: time, zone: tzinfo | None) -> datetime:
    return _in_zone(datetime.combine(now.astimezone(zone).date() - timedelta(days=days_before), clock), zone)


def _in_zone(naive: datetime, zone: tzinfo | None) -> datetime:
    """Make a naive time aware: in `zone`, or by the machine's time zone rules with their daylight saving time."""
    return naive.astimezone() if zone is None else naive.replace(tzinfo=zone)
