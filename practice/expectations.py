"""What an answer may be expected to be: each expectation is a test, and its sentence for the learner."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from practice.exchange import Answer

LISTED_TEXTS = 6
SHOWN_CHARACTERS = 60
MESSAGE_SHAPE = 'a status from 200 to 299, and JSON such as {"id": 1, "text": "…"}'
LIST_SHAPE = 'a status from 200 to 299, and {"messages": [{"id": 1, "text": "…"}, …]}'


@dataclass(frozen=True)
class Expectation:
    """A sentence that completes "expected", and the test whether an answer is so."""

    words: str
    holds: Callable[[Answer], bool]


def that(words: str, holds: Callable[[Answer], bool]) -> Expectation:
    """An expectation of your own. `words` completes "expected"."""
    return Expectation(words, holds)


def success() -> Expectation:
    """A status from 200 to 299."""
    return Expectation("a status from 200 to 299", lambda answer: answer.ok)


def refusal(what: str) -> Expectation:
    """A status from 400 to 499. `what` says what is refused."""
    return Expectation(f"a status from 400 to 499: {what}", lambda answer: 400 <= answer.status < 500)


def no_breakdown(what: str) -> Expectation:
    """Any whole answer whose status is below 500. `what` says what has been sent."""
    return Expectation(f"an answer that is no 5xx: {what}", lambda answer: 0 < answer.status < 500)


def message(text: str) -> Expectation:
    """One message with an id, and with exactly this text."""
    return Expectation(
        f"{MESSAGE_SHAPE} with the text {quoted(text)}, character by character",
        lambda answer: answer.ok and answer.message is not None and answer.message["text"] == text,
    )


def list_of_messages() -> Expectation:
    """A list of messages, each with an id and a text."""
    return Expectation(LIST_SHAPE, lambda answer: answer.ok and answer.messages is not None)


def texts(wanted: Sequence[str]) -> Expectation:
    """A list of messages with exactly these texts, in this order."""
    words = f"the texts {listed(wanted)}, in this order"
    if len(wanted) < 2:
        words = f"the text {listed(wanted)}, and no other" if wanted else "no messages"
    return Expectation(words, lambda answer: answer.texts == list(wanted))


def includes(wanted: Collection[str]) -> Expectation:
    """A list in which each of these texts is, once, wherever."""

    def all_there(answer: Answer) -> bool:
        shown = answer.texts or []
        return all(shown.count(each) == 1 for each in wanted)

    return Expectation(f"the texts {listed(sorted(wanted))} in the list, each once", all_there)


def lacks(text: str) -> Expectation:
    """A list in which this text is not."""
    return Expectation(f"no message with the text {quoted(text)}", lambda answer: text not in (answer.texts or []))


def count(wanted: int) -> Expectation:
    """The number of visits."""
    return Expectation(f'{{"count": {wanted}}}', lambda answer: answer.ok and count_of(answer) == wanted)


def count_of(answer: Answer) -> int | None:
    """The number in {"count": n}; None if the answer is none such."""
    found = answer.json.get("count") if isinstance(answer.json, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def field(name: str, wanted: Any) -> Expectation:
    """A JSON object in which the field `name` has this value."""
    return Expectation(
        f'JSON in which "{name}" is {json.dumps(wanted, ensure_ascii=False)}',
        lambda answer: answer.ok and isinstance(answer.json, dict) and answer.json.get(name) == wanted,
    )


def quoted(text: str) -> str:
    """A text as it reads in JSON, cut if it is long."""
    shown = json.dumps(text[:SHOWN_CHARACTERS], ensure_ascii=False)
    return shown if len(text) <= SHOWN_CHARACTERS else f'{shown[:-1]}…" ({len(text)} characters)'


def listed(wanted: Sequence[str]) -> str:
    """The first few of these texts, and how many more there are."""
    more = f" and {len(wanted) - LISTED_TEXTS} more" if len(wanted) > LISTED_TEXTS else ""
    return ", ".join(quoted(each) for each in wanted[:LISTED_TEXTS]) + more
