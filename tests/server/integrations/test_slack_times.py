"""Times written in Slack, on generated times and texts: an aware time, or ValueError and nothing else."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.integrations.slack.times import UNITS, parse

ZONES = st.sampled_from([UTC, *map(ZoneInfo, ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"])])
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
NOWS = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=ZONES)
NOW = datetime(2024, 3, 1, 9, 30, tzinfo=ZoneInfo("Europe/Berlin"))
LONGEST = timedelta(hours=25)  # a day on which clocks are put back
WORDS = st.from_regex(r"\A\s?([0-9]{1,6}\s?[smhdwy]?|[0-9]{1,3}(:[0-9]{1,2})?\s?([ap]m)?|[0-9TZ:.+-]{1,25})\s?\Z")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("9am", "2024-03-01T09:00:00+01:00"),
        ("9:30", "2024-03-01T09:30:00+01:00"),  # just now
        ("9:31", "2024-02-29T09:31:00+01:00"),  # not yet today
        ("10:15 PM", "2024-02-29T22:15:00+01:00"),
        ("12am", "2024-03-01T00:00:00+01:00"),
        ("today", "2024-03-01T00:00:00+01:00"),
        ("Yesterday", "2024-02-29T00:00:00+01:00"),
        ("90 m", "2024-03-01T08:00:00+01:00"),
        ("2h", "2024-03-01T07:30:00+01:00"),
        ("1d", "2024-02-29T09:30:00+01:00"),
        ("2w", "2024-02-16T09:30:00+01:00"),
        ("2024-02-29", "2024-02-29T00:00:00+01:00"),
        ("2024-07-01T12:00", "2024-07-01T12:00:00+02:00"),  # summer time
    ],
)
def test_what_is_written_is_understood(written: str, meant: str) -> None:
    assert parse(written, NOW).isoformat() == meant


def test_an_hour_is_an_hour_where_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    back = datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1)
    assert parse("1h", back).astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert parse("2h", back).astimezone(UTC) == datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    forward = datetime(2026, 3, 29, 3, 30, tzinfo=berlin)
    assert parse("1h", forward).astimezone(UTC) == datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    # Of a time that comes twice the later one is the last there was.
    assert parse("2:15", back).astimezone(UTC) == datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    assert parse("2:45", back).astimezone(UTC) == datetime(2026, 10, 25, 0, 45, tzinfo=UTC)


@given(st.datetimes(timezones=OFFSETS), NOWS, st.sampled_from(["{}", " {} "]))
def test_an_rfc_3339_time_is_itself_in_every_zone(time: datetime, now: datetime, around: str) -> None:
    try:
        time.astimezone(UTC)
    except OverflowError:
        return
    found = parse(around.format(time.isoformat()), now)
    assert (found, found.utcoffset()) == (time, time.utcoffset())


@given(NOWS, st.integers(0, 23), st.integers(0, 59))
@example(datetime(2024, 3, 31, 3, 10, tzinfo=ZoneInfo("Europe/Berlin")), 2, 30)  # which the clocks left out
def test_a_time_of_day_is_the_last_there_was(now: datetime, hour: int, minute: int) -> None:
    found = parse(f"{hour}:{minute:02}", now)
    assert found.tzinfo == now.tzinfo
    assert now.astimezone(UTC) - LONGEST <= found.astimezone(UTC) <= now.astimezone(UTC)
    assert (found.hour, found.minute, found.second, found.microsecond) == (hour, minute, 0, 0)
    assert parse(f"{hour % 12 or 12}:{minute:02}{'am' if hour < 12 else 'pm'}", now) == found


@given(NOWS, st.integers(0, 99_999), st.sampled_from(sorted(UNITS)))
def test_ago_is_so_long_before_now(now: datetime, count: int, unit: str) -> None:
    try:
        meant = now.astimezone(UTC) - timedelta(**{UNITS[unit]: count})
    except OverflowError:
        return
    assert parse(f"{count}{unit}", now).astimezone(UTC) == meant


@given(NOWS)
def test_today_and_yesterday_are_days_that_have_begun(now: datetime) -> None:
    today, yesterday = parse("today", now), parse("yesterday", now)
    assert yesterday < today <= now
    assert (today.hour, today.minute, yesterday.hour, yesterday.minute) == (0, 0, 0, 0)
    assert today.date() - yesterday.date() == timedelta(days=1)


@given(st.text(max_size=30) | WORDS, NOWS)
@example("99999w", NOW)
@example("0001-01-01", NOW)
@example("0001-01-01T00:00:00+14:00", NOW)
@example("9999-12-31T23:59:59-14:00", NOW)
def test_every_other_text_is_refused_with_examples(text: str, now: datetime) -> None:
    try:
        found = parse(text, now)
    except ValueError as error:
        refusal = str(error)
    else:
        assert found.astimezone(UTC).tzinfo == UTC  # it is aware, and UTC has it too
        return
    assert text in refusal
    assert "is not a time" in refusal
