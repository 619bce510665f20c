"""The scenarios of the lab's own service: behaviours that use its client library, and prepared requests."""

import itertools
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from client import ClientError, MessageClient

# What the client library raises; the status of the answer, if it has one, is in the request log already.
ERRORS = (ClientError,)
TOO_MANY = 429
WRITERS = 8
TEXT = "shall we have lunch at the usual place, or try the new one?"

_numbers = itertools.count(1)
# Ids of messages that any user has lately read, to be opened and answered.
_known: deque[str] = deque(maxlen=100)


def read_recent(session: Any) -> None:
    """Read the 20 newest messages."""
    _known.extend(message.id for message in _client(session).recent(limit=20))


def send_message(session: Any) -> None:
    """Send a message of an ordinary length."""
    _client(session).send(f"Message {next(_numbers)}: {TEXT}", author="load")


def read_since(session: Any) -> None:
    """Read the messages of the last minute, 20 at most."""
    _client(session).since(datetime.now(UTC) - timedelta(minutes=1), limit=20)


def reply(session: Any) -> None:
    """Reply to a message that a user has read; send a message if none has been."""
    if _known:
        _client(session).reply(_known[-1], f"Reply {next(_numbers)}: the usual place, at one.", author="load")
    else:
        send_message(session)


def open_thread(session: Any) -> None:
    """Read a message that a user has read before, with its replies."""
    if _known:
        _client(session).get(_known[0])
    else:
        read_recent(session)


def send_patiently(session: Any) -> None:
    """Send a message; as long as it is refused, wait as the answer says, and send it again."""
    message = {"text": TEXT, "author": "load"}
    while (answer := session.post("/messages", json=message)).status_code == TOO_MANY:
        time.sleep(float(answer.headers["Retry-After"]))
    answer.raise_for_status()


SCENARIOS: dict[str, dict[Callable[[Any], object], int]] = {
    "reads": {read_recent: 1},
    "writes": {send_message: 1},
    "patient": {send_patiently: 1},
    "mixed": {read_recent: 1, send_message: 1},
    "conversation": {read_recent: 4, read_since: 3, open_thread: 2, send_message: 1, reply: 2},
}

# The same without the client library, for fast users: method, path and JSON body of each request, and its weight.
_READ = ("GET", "/messages?limit=20", None)
_SEND = ("POST", "/messages", {"text": f"Message: {TEXT}", "author": "load"})
PREPARED: dict[str, list[tuple[tuple[str, str, Any], int]]] = {
    "reads": [(_READ, 1)],
    "writes": [(_SEND, 1)],
    "mixed": [(_READ, 1), (_SEND, 1)],
}


def prepare(url: str, messages: int) -> None:
    """Store `messages` messages in the service at `url`, for scenarios to read. Several at a time: commits are slow."""

    def store(first: int) -> None:
        with MessageClient(url) as client:
            for number in range(first, messages, WRITERS):
                client.send(f"Message {number}, here before the measuring began.", author="experiment")

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(store, range(WRITERS)))


def _client(session: Any) -> MessageClient:
    """The client library of the user to whom `session` belongs; it never retries, so each request is one request."""
    if "client" not in session.memory:
        session.memory["client"] = MessageClient(session.base_url, session=session, retries=0)
    client: MessageClient = session.memory["client"]
    return client
