"""What callers do: each behaviour is a plain function, a scenario a small table of weights."""

import itertools
from collections.abc import Callable

from client import MessageClient

Behaviour = Callable[[MessageClient], object]
_numbers = itertools.count(1)


def read_recent(client: MessageClient) -> None:
    """Look at the 20 newest messages, as somebody who opens the application does."""
    client.recent(limit=20)


def send_message(client: MessageClient) -> None:
    """Send a message of an ordinary length."""
    client.send(f"Message {next(_numbers)}: shall we have lunch at the usual place, or try the new one?", author="load")


SCENARIOS: dict[str, dict[Behaviour, int]] = {
    "reads": {read_recent: 1},
    "writes": {send_message: 1},
    "mixed": {read_recent: 1, send_message: 1},
}


def turns(scenario: str) -> list[Behaviour]:
    """One round of a scenario: each behaviour as often as it weighs, so that the mix is exact."""
    return [behaviour for behaviour, weight in SCENARIOS[scenario].items() for _ in range(weight)]
