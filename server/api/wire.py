"""Encode responses as JSON, and the models that describe them in the OpenAPI description.

Times are RFC 3339 in UTC with milliseconds and Z. The models are for the description only; responses are built by the
functions below, which are faster than the models.
"""

import functools
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field
from pydantic_core import to_json

from server import __version__
from server.api import cursors
from server.messages import MAX_LIMIT, Message, Page, Source


class MessageModel(BaseModel):
    """A message."""

    id: Annotated[str, Field(description="24 hex digits.")]
    text: str
    author: str
    created_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    reply_to: str | None
    source: Source
    seq: Annotated[int, Field(description="Sequence number, in the order in which messages were stored.")]


class PageModel(BaseModel):
    """A list of messages."""

    messages: list[MessageModel]
    next: Annotated[str | None, Field(description="Cursor for the next page, null on the last page.")]
    newest: Annotated[str, Field(description="Cursor for messages that are stored later: pass it as `after`.")]


class ThreadModel(MessageModel):
    """A message with its first direct replies, oldest first."""

    replies: list[MessageModel]
    next: Annotated[str | None, Field(description="Cursor for more replies, at `/messages/{id}/replies`.")]


class RepliesModel(BaseModel):
    """Direct replies to a message, oldest first."""

    messages: list[MessageModel]
    next: str | None


class GreetingModel(BaseModel):
    """The greeting, with the service's name, version and paths."""

    service: str
    version: str
    greeting: str
    visits: Annotated[int, Field(description="Number of requests to this path so far, this one included.")]
    links: dict[str, str]


class StatusModel(BaseModel):
    """The status of a health check."""

    status: str


class ReadyModel(StatusModel):
    """The status of the readiness check, and the version of the database's data model."""

    data_version: Annotated[int, Field(description="Number of the last applied migration, 0 if none.")]
    pending_migrations: Annotated[int, Field(description="Number of pending migrations: `python -m migrations up`.")]


class FieldErrorModel(BaseModel):
    """An invalid field, and how to correct it."""

    field: str
    message: str


class ProblemModel(BaseModel):
    """An error, as in RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldErrorModel] = []


def encode(document: Any) -> bytes:
    """Encode as compact JSON in UTF-8."""
    return to_json(document)


@functools.lru_cache(MAX_LIMIT)  # messages of one commit have the same time
def time(value: datetime) -> str:
    """Format a time as RFC 3339, for example `2024-02-29T12:00:00.000Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def message(value: Message) -> dict[str, Any]:
    """A message as a JSON object."""
    return {
        "id": value.id,
        "text": value.text,
        "author": value.author,
        "created_at": time(value.created_at),
        "reply_to": value.reply_to,
        "source": value.source,
        "seq": value.seq or 0,
    }


def etag(value: Page) -> str:
    """The ETag of a list. It depends only on the number up to which the list is complete: messages never change."""
    return f'"{__version__}-{value.up_to}"'


def page(value: Page) -> dict[str, Any]:
    """A list of messages as a JSON object."""
    return {
        "messages": [message(each) for each in value.messages],
        "next": cursors.older(value.next),
        "newest": cursors.newer(value.up_to),
    }


def replies(value: Page) -> dict[str, Any]:
    """Replies as a JSON object. `next` is a cursor for newer replies."""
    more = value.next
    return {
        "messages": [message(each) for each in value.messages],
        "next": None if more is None or more.before is None else cursors.newer(more.before),
    }


def thread(value: Message, answers: Page) -> dict[str, Any]:
    """A message with its replies as a JSON object."""
    listed = replies(answers)
    return message(value) | {"replies": listed["messages"], "next": listed["next"]}
