"""The `since` of a query, on generated times and texts: RFC 3339 with an offset, as the time in UTC that it names."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.api.queries import EARLIEST, ListQuery

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
LATEST = datetime.max.replace(tzinfo=UTC)


def since(text: str) -> datetime:
    """What `GET /messages?since=` understands."""
    found = ListQuery.model_validate({"since": text}).since
    assert found is not None
    return found


def written(time: datetime, digits: int, separator: str, zulu: bool) -> str:
    """`time` in RFC 3339, with so many `digits` of its fraction."""
    offset = "Z" if zulu and time.utcoffset() == timedelta(0) else time.strftime("%z")
    offset = offset if offset == "Z" else f"{offset[:3]}:{offset[3:5]}"
    fraction = f".{time.microsecond:06}000"[: digits + 1] if digits else ""
    year = f"{time.year:04}"  # which strftime does not fill up on every system
    return f"{year}-{time:%m-%d}{separator}{time:%H:%M:%S}{fraction}{offset}"


@given(st.datetimes(timezones=OFFSETS | st.just(UTC)), st.integers(0, 9), st.sampled_from("Tt "), st.booleans())
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), 0, "T", False)
@example(datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), 6, "T", False)
def test_a_time_is_read_in_any_offset_to_the_digits_that_are_given(
    time: datetime, digits: int, separator: str, zulu: bool
) -> None:
    kept = 10 ** (6 - min(digits, 6))
    cut = time.replace(microsecond=time.microsecond // kept * kept)
    naive = cut.replace(tzinfo=None)
    offset = time.utcoffset() or timedelta(0)
    # What lies outside the calendar of UTC is as early, or as late, as a time can be.
    if naive - datetime.min < offset:
        meant = EARLIEST
    elif datetime.max - naive < -offset:
        meant = LATEST
    else:
        meant = (naive - offset).replace(tzinfo=UTC)
    found = since(written(time, digits, separator, zulu))
    assert (found, found.tzinfo) == (meant, UTC)


@given(st.text(max_size=30) | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{5,12}([Zz]|[+-][0-9:]{5})?\Z"))
@example("2016-12-31T23:59:60Z")
@example("0000-01-01T00:00:00Z")
@example("2024-02-30T00:00:00Z")
@example("2024-02-29T12:00:00+24:00")
@example("2024-02-29T12:00:00+00:60")
def test_every_other_text_is_refused_and_says_why(text: str) -> None:
    try:
        found = since(text)
    except ValueError as error:
        refusal = str(error)
    else:
        assert found.tzinfo == UTC
        return
    assert re.search("write|calendar|%2B", refusal)


def test_a_leap_second_is_the_one_before_it() -> None:
    assert since("2016-12-31T23:59:60.5Z") == datetime(2016, 12, 31, 23, 59, 59, 500000, UTC)


@pytest.mark.parametrize("text", ["0000-13-01T00:00:00Z", "0000-02-30T00:00:00Z", "0000-01-01T25:00:00Z"])
def test_the_year_0_has_the_same_calendar(text: str) -> None:
    with pytest.raises(ValueError, match="calendar"):
        since(text)
