"""What clients send, read and checked: each function returns a good value, or refuses with the status of the answer."""

import json
import re
from datetime import datetime
from typing import Any

from store import MAX_ID
from werkzeug.exceptions import BadRequest, UnprocessableEntity

MAX_TEXT = 4000
MAX_LIMIT = 1000


def json_object(body: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object. Refuses others with 400."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON in UTF-8") from None
    if not isinstance(document, dict):
        raise BadRequest('the body is not a JSON object such as {"text": "hello"}')
    return document


def checked_text(text: object) -> str:
    """Return the text of a message, exactly as it was sent. Refuses with 422 what is none."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise UnprocessableEntity(f"text: give 1 to {MAX_TEXT} characters, not all of them blank")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise UnprocessableEntity("text: half of a surrogate pair is no character")
    return text


def checked_reply_to(parent: object) -> int | None:
    """Return the id of the message that is answered, or None. Refuses with 422 what cannot be an id."""
    if parent is None:
        return None
    if type(parent) is not int or not 0 < parent <= MAX_ID:
        raise UnprocessableEntity("reply_to: give the id of a message, a whole number")
    return parent


def checked_limit(text: str) -> int:
    """Return a number of messages that is written in digits. Refuses others with 400."""
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise BadRequest(f"limit: give a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def point_in_time(text: str) -> datetime:
    """Return an RFC 3339 time with its offset from UTC. Refuses others with 400."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest("since: give a time such as 2026-02-28T12:00:00Z; in a URL write + as %2B") from None
    if time.tzinfo is None:
        raise BadRequest("since: give the offset from UTC too: end the time with Z or with one such as +02:00")
    return time
