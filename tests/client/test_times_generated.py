"""The client's parser of times, on generated times and texts: an aware time, or ValueError and nothing else."""

from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from client.times import UNITS, parse

ZONES = st.sampled_from([None, UTC, *map(ZoneInfo, ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"])])
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
NOWS = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
NOW = datetime(2024, 3, 1, 9, 30, tzinfo=UTC)
LONGEST = timedelta(hours=25)  # a day on which clocks are put back
WORDS = st.from_regex(r"\A\s?([0-9]{1,7}\s?[smhdwy]?|[0-9]{1,3}(:[0-9]{1,2})?\s?([ap]m)?|[0-9TZ:.+-]{1,25})\s?\Z")


@given(st.datetimes(timezones=OFFSETS), ZONES, st.sampled_from(["{}", " {} ", "{}\n"]))
def test_an_rfc_3339_time_is_itself_in_every_zone(moment: datetime, zone: tzinfo | None, around: str) -> None:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return
    found = parse(around.format(moment.isoformat()), NOW, zone)
    assert (found, found.utcoffset()) == (moment, moment.utcoffset())


@given(NOWS, ZONES, st.integers(0, 23), st.integers(0, 59))
@example(datetime(2024, 3, 31, 1, 10, tzinfo=UTC), ZoneInfo("Europe/Berlin"), 2, 30)  # which the clocks left out
def test_a_time_of_day_is_the_last_there_was(now: datetime, zone: tzinfo | None, hour: int, minute: int) -> None:
    found = parse(f"{hour}:{minute:02}", now, zone)
    assert found.tzinfo is not None
    assert now - LONGEST <= found.astimezone(UTC) <= now
    assert zone is None or found.time() == time(hour, minute)
    half = parse(f"{hour % 12 or 12}:{minute:02} {'am' if hour < 12 else 'pm'}", now, zone)
    assert half == found


@given(NOWS, ZONES, st.integers(0, 60_000), st.sampled_from(sorted(UNITS)))
def test_ago_is_so_long_before_now(now: datetime, zone: tzinfo | None, count: int, unit: str) -> None:
    length = timedelta(**{UNITS[unit]: count})
    try:
        meant = now - length
    except OverflowError:
        return
    assert parse(f"{count}{unit}", now, zone).astimezone(UTC) == meant


@given(NOWS, ZONES)
def test_today_and_yesterday_are_days_that_have_begun(now: datetime, zone: tzinfo | None) -> None:
    today, yesterday = parse("today", now, zone), parse("yesterday", now, zone)
    assert yesterday < today <= now
    assert today.astimezone(UTC) - yesterday.astimezone(UTC) <= LONGEST
    assert (today.time(), yesterday.time()) == (time(), time())


@given(st.text(max_size=30) | WORDS, ZONES)
@example("999999w", None)
@example("999999w", UTC)
@example("999999d", ZoneInfo("Europe/Berlin"))
@example("0001-01-01", None)
@example("0001-01-01", ZoneInfo("Europe/Berlin"))
@example("0001-01-01T00:00:00+14:00", UTC)
@example("9999-12-31T23:59:59-14:00", UTC)
def test_every_other_text_is_refused_with_examples(text: str, zone: tzinfo | None) -> None:
    try:
        found = parse(text, NOW, zone)
    except ValueError as error:
        refusal = str(error)
    else:
        assert found.astimezone(UTC).tzinfo == UTC  # it is aware, and UTC has it too
        return
    assert repr(text) in refusal
    assert "is not a time" in refusal
