"""Formatting one message for a terminal."""

from dataclasses import replace
from datetime import UTC, datetime

import click
import pytest

from client import Message
from client.rendering import line, quote

MESSAGE = Message("5f" * 12, "hello", "mia", datetime(2024, 2, 29, 12, 0, tzinfo=UTC))


def test_a_message_is_time_author_text_and_id() -> None:
    here = MESSAGE.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert click.unstyle(line(MESSAGE)) == f"{here}  mia  hello  {MESSAGE.id}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}", id="a family"),
        pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", id="Persian"),
        pytest.param("\u0915\u094d\u200d\u0937", id="Hindi"),
        pytest.param("10\N{NO-BREAK SPACE}000\N{IDEOGRAPHIC SPACE}yen", id="spaces"),
        pytest.param("\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}", id="a red heart"),
    ],
)
def test_what_makes_up_words_and_emoji_is_shown(text: str) -> None:
    assert text in click.unstyle(line(replace(MESSAGE, text=text)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b]0;owned\x07", r"\x1b]0;owned\x07", id="sets the title"),
        pytest.param("safe\r\x1b[Kevil", r"safe\r\x1b[Kevil", id="overwrites the line"),
        pytest.param("two\nlines", r"two\nlines", id="fakes a second message"),
        pytest.param("\x9b31m", r"\x9b31m", id="an escape of one character"),
        pytest.param("a\N{RIGHT-TO-LEFT OVERRIDE}b", r"a\u202eb", id="turns the line round"),
        pytest.param("a\N{LEFT-TO-RIGHT ISOLATE}b", r"a\u2066b", id="turns a part of it round"),
        pytest.param("a\N{ZERO WIDTH SPACE}b", r"a\u200bb", id="hides something"),
        pytest.param(
            "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \N{GRINNING FACE}", "grün \N{GRINNING FACE}", id="none"
        ),
    ],
)
@pytest.mark.parametrize("field", ["text", "author"])
def test_control_characters_are_escaped(field: str, text: str, shown: str) -> None:
    strange = replace(MESSAGE, **{field: text})
    for rendered in (click.unstyle(line(strange)), click.unstyle(quote(strange, strange.id))):
        assert shown in rendered
        assert rendered.isprintable()
