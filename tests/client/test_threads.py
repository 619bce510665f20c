"""Formatting threads for a terminal: replies are indented under their parents."""

from datetime import UTC, datetime

import click

from client import Message
from client.rendering import threads


def message(seq: int, text: str, reply_to: int | None = None) -> Message:
    parent = None if reply_to is None else f"{reply_to:024x}"
    return Message(f"{seq:024x}", text, "mia", datetime(2024, 2, 29, 12, 0, tzinfo=UTC), parent, "api", seq)


def drawn(*messages: Message, quoted: Message | None = None) -> list[str]:
    """The lines, as pairs of indentation and text."""
    known = {} if quoted is None else {quoted.id: quoted}
    lines = [click.unstyle(line) for line in threads(messages, known)]
    return [
        f"{' ' * (len(line) - len(line.lstrip()))}{line.strip().split('  mia  ')[-1].rsplit('  ', 1)[0]}"
        for line in lines
    ]


def test_the_newest_is_at_the_bottom_whatever_order_they_come_in() -> None:
    assert drawn(message(3, "c"), message(1, "a"), message(2, "b")) == ["a", "b", "c"]


def test_a_reply_is_indented_under_its_parent() -> None:
    found = drawn(
        message(1, "a"), message(2, "b"), message(3, "to a", 1), message(4, "to that", 3), message(5, "too", 1)
    )
    assert found == ["a", "    to a", "        to that", "    too", "b"]


def test_a_deep_thread_stays_readable() -> None:
    found = drawn(message(1, "number 1"), *(message(seq, f"number {seq}", seq - 1) for seq in range(2, 41)))
    assert max(len(each) - len(each.lstrip()) for each in found) <= 32
    assert found[-2:] == [" " * 32 + "↳ in reply to mia: number 39", " " * 32 + "number 40"]


def test_a_parent_that_is_not_listed_is_quoted() -> None:
    long_ago = message(1, "a question that is much longer than what a quotation of it should be")
    assert drawn(message(9, "an answer", 1), quoted=long_ago) == [
        "↳ in reply to mia: a question that is much longer than wha…", "    an answer"
    ]  # fmt: skip


def test_an_unknown_parent_is_named_by_its_id() -> None:
    assert drawn(message(9, "an answer", 1)) == [f"↳ in reply to {1:024x}", "    an answer"]
