"""MessageClient: a method for each operation of the service's HTTP API."""

import itertools
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import requests

from client.errors import NotTheService, ServiceUnavailable, TooMany
from client.transport import PATIENCE, TIMEOUT, Transport

PAGE = 100


@dataclass(frozen=True)
class Message:
    """A stored message. `id` is 24 hex digits; `created_at` is timezone-aware, in UTC.

    `seq` is the message's sequence number, in the order in which messages were stored.
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
        """Make a message from a JSON object of the API; unknown fields, of a newer service, are ignored."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(**known | {"created_at": datetime.fromisoformat(document["created_at"])})


@dataclass(frozen=True)
class Thread:
    """A message with its first direct replies, oldest first; `more` is whether there are further ones."""

    message: Message
    replies: list[Message]
    more: bool

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Thread":
        """Make a thread from a JSON object of the API."""
        replies = [Message.from_json(each) for each in document.get("replies", [])]
        return cls(Message.from_json(document), replies, document.get("next") is not None)


@dataclass(frozen=True)
class _Page:
    """One page of a list: `next` continues it, and `after` is the cursor for messages that are stored later."""

    messages: list[Message]
    next: str | None
    after: str

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "_Page":
        messages = [Message.from_json(each) for each in document["messages"]]
        return cls(messages, document.get("next"), document.get("newest", ""))


class MessageClient:
    """A client of the service at `base_url`, for example `http://127.0.0.1:8000`.

    Requests that fail temporarily (no response, 5xx, 429) are retried for `patience` seconds, or `retries` times if
    that is given; a retried message is stored only once. A client reads its own writes. Connections are pooled in
    `session`, a new one by default. An address of this machine is asked directly, whatever proxy the environment names.
    `timeout` is in seconds, or a pair (connect, read). Not thread-safe. Every method raises `ServiceUnavailable` or
    `Refused` (see `client.errors`), and `ClientError` if the address or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        session: requests.Session | None = None,
        timeout: float | tuple[float, float] = TIMEOUT,
        retries: int | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._transport = Transport(base_url, api_key, session, timeout, retries, patience)
        self.followed_to: str | None = None

    def hello(self) -> dict[str, Any]:
        """The service's greeting: a dict with its name, version and links. Each call is stored as a visit."""
        return self._transport.request("GET", "/", _greeting)

    def send(
        self, text: str, author: str | None = None, reply_to: str | None = None, key: str | None = None
    ) -> Message:
        """Store a message and return it as stored; it is durable when this returns.

        Whoever sends the same message again with the same `key` stores it once; None makes a new key for each call.
        """
        given = {"text": text, "author": author, "reply_to": reply_to}
        body = {name: value for name, value in given.items() if value is not None}
        # The same key for all attempts: the service stores the message once.
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return self._transport.request("POST", "/messages", Message.from_json, headers, json=body)

    def reply(self, id: str, text: str, author: str | None = None, key: str | None = None) -> Message:
        """Store a reply to the message `id` and return it; `key` as in `send`."""
        return self.send(text, author, reply_to=id, key=key)

    def recent(self, limit: int | None = None) -> list[Message]:
        """The `limit` newest messages (None: the service's default), newest first."""
        return self._list(limit=limit).messages

    def since(self, when: datetime, limit: int | None = None) -> list[Message]:
        """The messages created at or after `when`, newest first; only the `limit` newest of them if given.

        Raises `ValueError` for a `when` without a time zone.
        """
        if when.tzinfo is None:
            raise ValueError(f"{when} has no time zone: give it one with when.astimezone()")
        return list(itertools.islice(self._pages(since=when.isoformat()), limit))

    def get(self, id: str) -> Thread:
        """The message `id` with its first replies. Raises `NotFound`."""
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
        """A cursor for the current end of the list: `follow` from it yields each message that is stored later."""
        return self._list(limit=1).after

    def follow(self, after: str | None = None, interval: float = 0.5) -> Iterator[Message]:
        """Yield each message after the cursor `after` (None: each new message) once, in `seq` order, for ever.

        Polls the service, and waits `interval` seconds whenever there is nothing new. Once it has begun it goes on when
        the service is away. `followed_to` is the cursor behind which nothing has been yielded.
        """
        cursor = self.followed_to = self.newest() if after is None else after
        while True:
            try:
                page = self._list(after=cursor, limit=PAGE)
            except NotTheService:
                raise
            except (ServiceUnavailable, TooMany) as error:
                time.sleep(max(interval, error.retry_after))
                continue
            yield from page.messages
            if cursor == page.after:
                time.sleep(interval)
            cursor = self.followed_to = page.after

    def close(self) -> None:
        """Close the pooled connections."""
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
