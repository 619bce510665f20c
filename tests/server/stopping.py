"""Callers on plain sockets that post without a pause, pipelined, and note what became of each message."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.server.http1.serving import Answered, read_answer


def connect(url: str) -> socket.socket:
    """A connection to the service at `url`. Raises `OSError`."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=20)


def post(text: str) -> bytes:
    """A request that stores a message, as bytes."""
    body = json.dumps({"text": text}).encode()
    head = f"POST /messages HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@dataclass
class Noted:
    """What became of the messages of all callers, by their texts."""

    stored: set[str] = field(default_factory=set)  # answered 201, to the last byte
    cut: list[str] = field(default_factory=list)  # answers that have begun and not ended
    unanswered: list[str] = field(default_factory=list)  # sent completely when the connection ended without a word
    waited: list[str] = field(default_factory=list)  # connections on which nothing happened any more


@contextmanager
def posting(url: str, callers: int, pipelined: int, reconnecting: bool = False) -> Iterator[Noted]:
    """Have `callers` post while the block runs and until they are refused, each `pipelined` messages at a time.

    If `reconnecting`, on a new connection each time.
    """
    noted, ended = Noted(), threading.Event()
    threads = [
        threading.Thread(target=_post_until, args=(url, f"{number}", pipelined, reconnecting, noted, ended))
        for number in range(callers)
    ]
    for each in threads:
        each.start()
    try:
        yield noted
    finally:
        ended.set()
        for each in threads:
            each.join()


def _post_until(url: str, name: str, pipelined: int, reconnecting: bool, noted: Noted, ended: threading.Event) -> None:
    """Post, on a new connection whenever one has ended, until none is accepted after `ended`."""
    count = 0
    while True:
        try:
            caller = connect(url)
        except OSError:
            if ended.is_set():
                return
            continue
        with caller, caller.makefile("rb") as answers, suppress(ConnectionError):
            keeps = True
            while keeps:
                texts = [f"{name}.{count + each}" for each in range(pipelined)]
                count += pipelined
                keeps = _exchange(caller, answers, texts, noted) and not reconnecting


def _exchange(caller: socket.socket, answers: object, texts: list[str], noted: Noted) -> bool:
    """Send messages at once, note how each is answered, and say whether the connection goes on."""
    caller.sendall(b"".join(map(post, texts)))
    for text in texts:
        try:
            answer = read_answer(answers)
        except TimeoutError:
            noted.waited.append(text)
            return False
        except (ConnectionError, ValueError, IndexError):
            answer = None
        if answer is None:
            noted.unanswered.append(text)
            return False
        _note(answer, text, noted)
        if answer.headers.get("connection") == "close":
            return False
    return True


def _note(answer: Answered, text: str, noted: Noted) -> None:
    if len(answer.body) < int(answer.headers.get("content-length", 1)):
        noted.cut.append(text)
    elif answer.status == 201:
        noted.stored.add(text)
