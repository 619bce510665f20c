"""What callers do: each behaviour is a plain function, a scenario a small table of weights.

All that the load tests know of the service they load is in this file. To test another service, write
its behaviours and its scenarios here, and say how to `connect` to it, what to `prepare`, and how to name requests.
"""

import itertools
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from client import ClientError, MessageClient

Behaviour = Callable[[MessageClient], object]

# What a client raises for an answer that is an error; the request log has it already.
ERRORS = ClientError

_ID = re.compile(r"[0-9a-f]{24}")
_numbers = itertools.count(1)
# What has lately been read by anybody, to be opened and answered.
_known: deque[str] = deque(maxlen=100)


def read_recent(client: MessageClient) -> None:
    """Look at the 20 newest messages, as somebody who opens the application does."""
    _known.extend(message.id for message in client.recent(limit=20))


def send_message(client: MessageClient) -> None:
    """Send a message of an ordinary length."""
    client.send(f"Message {next(_numbers)}: shall we have lunch at the usual place, or try the new one?", author="load")


def read_since(client: MessageClient) -> None:
    """Look at what came in the last minute, 20 messages at most."""
    client.since(datetime.now(UTC) - timedelta(minutes=1), limit=20)


def reply(client: MessageClient) -> None:
    """Answer a message that somebody has read."""
    if _known:
        client.reply(_known[-1], f"Reply {next(_numbers)}: the usual place, at one.", author="load")
    else:
        send_message(client)


def open_thread(client: MessageClient) -> None:
    """Open a message that somebody has read, with its replies."""
    if _known:
        client.get(_known[0])
    else:
        read_recent(client)


SCENARIOS: dict[str, dict[Behaviour, int]] = {
    "reads": {read_recent: 1},
    "writes": {send_message: 1},
    "mixed": {read_recent: 1, send_message: 1},
    "conversation": {read_recent: 4, read_since: 3, open_thread: 2, send_message: 1, reply: 2},
}


def turns(scenario: str) -> list[Behaviour]:
    """One round of a scenario: each behaviour as often as it weighs, so that the mix is exact."""
    return [behaviour for behaviour, weight in SCENARIOS[scenario].items() for _ in range(weight)]


def connect(url: str, session: Any) -> MessageClient:
    """A client of the service at `url` that sends with `session` and never tries again."""
    return MessageClient(url, session=session, retries=0)


def prepare(url: str, messages: int) -> None:
    """Store what a scenario expects to find: so many `messages`."""
    with MessageClient(url) as client:
        for number in range(messages):
            client.send(f"Message {number}, here before the measuring began.", author="experiment")


def request_name(method: str, path: str) -> str:
    """What a request is called in every table: its method and path, not each id."""
    return f"{method} {_ID.sub('{id}', path)}"
