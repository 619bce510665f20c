"""Parsing the times that people write."""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from client.times import parse

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2024, 3, 1, 9, 30, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("9am", "2024-03-01T09:00:00+01:00"),
        ("9:30", "2024-03-01T09:30:00+01:00"),
        ("10am", "2024-02-29T10:00:00+01:00"),  # not yet today
        ("10:00", "2024-02-29T10:00:00+01:00"),
        ("10:15 pm", "2024-02-29T22:15:00+01:00"),
        ("12am", "2024-03-01T00:00:00+01:00"),
        ("12pm", "2024-02-29T12:00:00+01:00"),
        ("today", "2024-03-01T00:00:00+01:00"),
        ("Yesterday", "2024-02-29T00:00:00+01:00"),
        ("2h", "2024-03-01T07:30:00+01:00"),
        ("90m", "2024-03-01T08:00:00+01:00"),
        ("45s", "2024-03-01T09:29:15+01:00"),
        ("1d", "2024-02-29T09:30:00+01:00"),
        ("2w", "2024-02-16T09:30:00+01:00"),
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00+00:00"),
        ("2024-02-29T12:00:00.5+05:30", "2024-02-29T12:00:00.500000+05:30"),
        ("2024-02-29T12:00", "2024-02-29T12:00:00+01:00"),
        ("2024-02-29", "2024-02-29T00:00:00+01:00"),
        ("2024-07-01", "2024-07-01T00:00:00+02:00"),  # summer time
    ],
)
def test_accepted_times(written: str, meant: str) -> None:
    assert parse(written, NOW, BERLIN).isoformat() == meant


@pytest.mark.parametrize("written", ["", "10", "25:00", "13pm", "0am", "10:60", "tomorrow", "2y", "-2h", "2023-02-29"])
def test_other_texts_are_refused_with_examples(written: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time"):
        parse(written, NOW, BERLIN)


def test_a_day_before_a_change_to_daylight_saving_has_the_offset_of_then() -> None:
    after_the_change = datetime(2024, 3, 31, 12, 0, tzinfo=BERLIN)
    assert parse("yesterday", after_the_change, BERLIN).isoformat() == "2024-03-30T00:00:00+01:00"


def test_the_machine_s_time_zone_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert parse("14:00", NOW).isoformat() == "2024-03-01T14:00:00+05:30"
        assert parse("2024-02-29").isoformat() == "2024-02-29T00:00:00+05:30"
    finally:
        monkeypatch.undo()
        time.tzset()
