"""The JSON that leaves the service: times as RFC 3339 in UTC with milliseconds and Z."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from server.messages import Message


def encode(document: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def time(value: datetime) -> str:
    """RFC 3339, for example `2024-02-29T12:00:00.000Z`."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


def message(value: Message) -> dict[str, Any]:
    """A message as a JSON object."""
    return {
        "id": value.id,
        "text": value.text,
        "author": value.author,
        "created_at": time(value.created_at),
        "reply_to": value.reply_to,
        "source": value.source,
    }


def messages(values: Sequence[Message]) -> dict[str, Any]:
    """A list of messages as a JSON object."""
    return {"messages": [message(value) for value in values]}
