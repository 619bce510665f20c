"""Parse the times that `/msg since` accepts: 10:00, 10am, yesterday, 2h, or RFC 3339."""

import re
from datetime import UTC, datetime, time, timedelta

AGO = re.compile(r"(\d{1,5})\s*([mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
CLOCKS = ("%H:%M", "%I%p", "%I:%M%p")
EXAMPLES = "10:00, 10am, yesterday, 2h, or 2024-02-29T12:00:00Z"


def parse(text: str, now: datetime) -> datetime:
    """Parse a time relative to `now`, which is timezone-aware, in the user's time zone.

    A time of day means its latest occurrence, and a day its first moment. Raises `ValueError` with examples.
    """
    written = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if written in ("today", "yesterday"):
        return midnight - timedelta(days=written == "yesterday")
    try:
        if match := AGO.fullmatch(written):
            return (now.astimezone(UTC) - timedelta(**{UNITS[match[2]]: int(match[1])})).astimezone(now.tzinfo)
        if clock := _clock(written.replace(" ", "")):
            # Where clocks were put back, a time of day comes twice. Compared in UTC, because where they were put
            # forward past it, one of today may still be to come.
            today = datetime.combine(now.date(), clock, now.tzinfo)
            latest = [each for each in (today.replace(fold=1), today) if each.astimezone(UTC) <= now.astimezone(UTC)]
            return latest[0] if latest else today - timedelta(days=1)
        when = datetime.fromisoformat(text.strip().upper())
        when = when if when.tzinfo else when.replace(tzinfo=now.tzinfo)
        when.astimezone(UTC)  # raises OverflowError for times out of range in UTC
        return when
    except (ValueError, OverflowError) as error:
        raise ValueError(f"“{text}” is not a time: write one such as {EXAMPLES}") from error


def _clock(written: str) -> time | None:
    for clock in CLOCKS:
        try:
            return datetime.strptime(written, clock).time()
        except ValueError:
            continue
    return None
