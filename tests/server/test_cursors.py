"""Cursors, on generated positions and texts: what was written is read again, and all else is refused."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.api.cursors import BROKEN, NEWER_PATTERN, OLDER_PATTERN, newer, older, read_newer, read_older
from server.messages import Position

MOST = 10**15 - 1  # fifteen digits
NUMBERS = st.integers(-MOST, MOST)
IDS = st.text("0123456789abcdef", min_size=24, max_size=24)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000))
POSITIONS = st.one_of(
    st.builds(Position, before=NUMBERS, floor=st.none() | NUMBERS),
    st.builds(Position, before=NUMBERS, since=TIMES),
    st.builds(Position, before_id=IDS, since=st.none() | TIMES),
)
# Cursors, texts that are nearly cursors, and any text.
HALF = st.from_regex(r"\A(-?[0-9]{0,16}([.s]-?[0-9]{0,16})?|u[0-9a-fA-F]{23,25}(s-?[0-9]{0,16})?)\Z")
TEXTS = st.one_of(
    st.from_regex(OLDER_PATTERN),
    st.builds("{}~{}{}".format, HALF, HALF, st.sampled_from(["", "\n", " ", "~"])),
    st.builds(lambda half, end: f"{half}~{half}{end}", HALF, st.sampled_from(["", "\n", " ", "٣"])),
    st.text(max_size=20),
)


def accepts(pattern: str, text: str) -> bool:
    """What JSON Schema says of `text`: its `$` is the end of the text, Python's also stands before a last line feed."""
    return re.search(pattern.replace("$", r"\Z"), text) is not None


def read(reader: Any, text: str) -> Any:
    """What `reader` makes of `text`, None if it refuses it."""
    try:
        return reader(text)
    except ValueError as error:
        refusal = str(error)
    assert refusal == BROKEN
    return None


@given(POSITIONS)
@example(Position(before=0, floor=0))
@example(Position(before=MOST, floor=-MOST))
def test_a_position_is_read_as_it_was_written(position: Position) -> None:
    text = older(position)
    assert text is not None
    assert accepts(OLDER_PATTERN, text)
    assert read_older(text) == position


@given(st.integers(0, MOST))
def test_a_number_is_read_as_it_was_written(seq: int) -> None:
    assert accepts(NEWER_PATTERN, newer(seq))
    assert read_newer(newer(seq)) == seq


def test_no_position_has_no_cursor() -> None:
    assert older(None) is None


@given(TEXTS)
@example("5~5\n")
@example("5~6")
@example(f"{MOST + 1}~{MOST + 1}")
@example(f"1s{MOST}~1s{MOST}")
@example(f"1s-{MOST}~1s-{MOST}")
def test_the_schema_s_pattern_says_which_texts_are_read(text: str) -> None:
    assert (read(read_older, text) is not None) == accepts(OLDER_PATTERN, text)
    assert (read(read_newer, text) is not None) == accepts(NEWER_PATTERN, text)


@given(st.one_of(POSITIONS.map(older), st.integers(0, MOST).map(newer)), st.integers(0, 60))
def test_a_cursor_that_was_cut_off_is_refused(text: str, length: int) -> None:
    cut = text[: min(length, len(text) - 1)]
    assert read(read_older, cut) is None
    assert read(read_newer, cut) is None


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("41~41", Position(before=41)),
        ("41.7~41.7", Position(before=41, floor=7)),
        ("41s1500~41s1500", Position(before=41, since=datetime(1970, 1, 1, 0, 0, 1, 500000, UTC))),
        (f"u{'a' * 24}s0~u{'a' * 24}s0", Position(before_id="a" * 24, since=datetime(1970, 1, 1, tzinfo=UTC))),
        (f"u{'a' * 24}~u{'a' * 24}", Position(before_id="a" * 24)),
    ],
)
def test_a_cursor_looks_like_this(text: str, position: Position) -> None:
    assert older(position) == text
    assert read_older(text) == position
