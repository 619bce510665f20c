"""MessageClient: the service's verbs as methods."""

import itertools
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import requests

from client.transport import TIMEOUT, Transport

PAGE = 100


@dataclass(frozen=True)
class Message:
    """A message as the service keeps it. `created_at` is aware, in UTC; `id` is 24 hex digits.

    `seq` numbers messages in the order in which they were stored.
    """

    id: str
    text: str
    author: str
    created_at: datetime
    reply_to: str | None = None
    source: str = "api"
    seq: int = 0

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Message":
        """Read what the service sent. Fields of a newer service are passed over."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(**known | {"created_at": datetime.fromisoformat(document["created_at"])})


@dataclass(frozen=True)
class Thread:
    """A message with its first direct replies, oldest first; `more` tells that there are others."""

    message: Message
    replies: list[Message]
    more: bool

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Thread":
        """Read what the service sent."""
        replies = [Message.from_json(each) for each in document.get("replies", [])]
        return cls(Message.from_json(document), replies, document.get("next") is not None)


@dataclass(frozen=True)
class _Page:
    """A list as the service sends it, with its cursors."""

    messages: list[Message]
    next: str | None
    newest: str

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "_Page":
        messages = [Message.from_json(each) for each in document["messages"]]
        return cls(messages, document.get("next"), document.get("newest", ""))


class MessageClient:
    """Talks to the service at `base_url`, for example `http://127.0.0.1:8000`.

    What may pass is tried again, up to `retries` times; a message is never stored twice by that. A
    client always reads its own writes. Connections are kept and reused; a `session` of the caller's own
    (a load generator's, say) is used instead of a new one. For one thread. Every method raises
    `ServiceUnavailable` or `Refused` (see `client.errors`).
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        session: requests.Session | None = None,
        timeout: float | tuple[float, float] = TIMEOUT,
        retries: int = 3,
    ) -> None:
        self._transport = Transport(base_url, api_key, session, timeout, retries)

    def hello(self) -> dict[str, Any]:
        """The service's greeting: its name, version and links. The service counts it as a visit."""
        return self._transport.request("GET", "/", _greeting)

    def send(self, text: str, author: str | None = None, reply_to: str | None = None) -> Message:
        """Store a message; it is durable when this returns."""
        given = {"text": text, "author": author, "reply_to": reply_to}
        body = {name: value for name, value in given.items() if value is not None}
        # One key for all attempts: the service stores the message once, however many arrive.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self._transport.request("POST", "/messages", Message.from_json, headers, json=body)

    def reply(self, id: str, text: str, author: str | None = None) -> Message:
        """Answer the message `id`."""
        return self.send(text, author, reply_to=id)

    def recent(self, limit: int | None = None) -> list[Message]:
        """The `limit` newest messages (the service's default if None), newest first."""
        return self._list(limit=limit).messages

    def since(self, when: datetime, limit: int | None = None) -> list[Message]:
        """The messages created at or after `when`, newest first; the `limit` newest of them.

        Raises `ValueError` for a time without a time zone.
        """
        if when.tzinfo is None:
            raise ValueError(f"{when} has no time zone: give it one with when.astimezone()")
        return list(itertools.islice(self._pages(since=when.isoformat()), limit))

    def get(self, id: str) -> Thread:
        """The message `id` with its replies. Raises `NotFound`."""
        return self._transport.request("GET", _path(id), Thread.from_json)

    def replies(self, id: str) -> Iterator[Message]:
        """All direct replies to the message `id`, oldest first. Raises `NotFound`."""
        cursor = None
        while True:
            params = {"limit": PAGE} | ({} if cursor is None else {"cursor": cursor})
            page = self._transport.request("GET", f"{_path(id)}/replies", _Page.from_json, params=params)
            yield from page.messages
            cursor = page.next
            if cursor is None:
                return

    def newest(self) -> str:
        """A cursor: `follow` with it gives everything that is stored from now on."""
        return self._list(limit=1).newest

    def follow(self, after: str | None = None, interval: float = 0.5) -> Iterator[Message]:
        """Every message that comes after the cursor (after now if None), once, oldest first; for ever.

        Asks again `interval` seconds after it has given everything there is.
        """
        cursor = self.newest() if after is None else after
        while True:
            page = self._list(after=cursor, limit=PAGE)
            yield from page.messages
            if cursor == page.newest:
                time.sleep(interval)
            cursor = page.newest

    def close(self) -> None:
        """Give back the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _list(self, **params: Any) -> _Page:
        given = {name: value for name, value in params.items() if value is not None}
        return self._transport.request("GET", "/messages", _Page.from_json, params=given)

    def _pages(self, **params: Any) -> Iterator[Message]:
        cursor = None
        while True:
            page = self._list(**params, limit=PAGE, cursor=cursor)
            yield from page.messages
            cursor = page.next
            if cursor is None:
                return


def _path(id: str) -> str:
    return "/messages/" + quote(id, safe="")


def _greeting(document: dict[str, Any]) -> dict[str, Any]:
    if "greeting" not in document:
        raise KeyError("greeting")
    return document
