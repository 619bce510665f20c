"""What the database of the lab's service has stored, read past the service."""

from typing import Any

from pymongo import MongoClient

from practice.outages.history import Stored

ORDER = [("seq", 1)]


def stored(mongodb_uri: str, database: str) -> Stored:
    """All messages in `database`, in the order of their numbers. Raises `PyMongoError`."""
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        found = client[database].messages.find({"void": None}, sort=ORDER)
        return Stored([(each["text"], each["seq"], _time(each["created_at"])) for each in found])


def _time(at: Any) -> str:
    """A time as the service writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
