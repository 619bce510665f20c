"""The routes of visits and messages."""

import re
from typing import Any

from flask import Flask, request
from reading import checked_limit, checked_reply_to, checked_text, json_object, point_in_time
from service import Service
from store import EPOCH, MILLISECOND, Message, UnknownParent
from werkzeug.exceptions import NotFound, UnprocessableEntity


def add_routes(app: Flask, service: Service) -> None:
    """Add the routes to `app`."""

    @app.get("/")
    def hello() -> dict[str, str]:
        service.store.visit()
        return {"greeting": "Hello! Post a message to /messages, or read the newest ones there."}

    @app.get("/visits")
    def visits() -> dict[str, int]:
        return {"count": service.store.visits()}

    @app.post("/messages")
    def post_message() -> tuple[dict[str, Any], int]:
        service.admit()
        body = json_object(request.get_data())
        text, parent = checked_text(body.get("text")), checked_reply_to(body.get("reply_to"))
        try:
            message = service.add(text, parent)
        except UnknownParent:
            raise UnprocessableEntity(f"reply_to: there is no message {parent}") from None
        assert message is not None  # only an SMS can be there already
        return as_json(message), 201

    @app.get("/messages")
    def list_messages() -> dict[str, Any]:
        limit = checked_limit(request.args.get("limit", "20"))
        since = point_in_time(request.args["since"]) if "since" in request.args else None
        return {"messages": [as_json(each) for each in service.newest(limit, since)]}

    @app.get("/messages/<id>")
    def one_message(id: str) -> dict[str, Any]:
        found = service.store.find(int(id)) if re.fullmatch("[0-9]{1,18}", id) else None
        if found is None:
            raise NotFound(f"there is no message {id}")
        message, replies = found
        return as_json(message) | {"replies": [as_json(each) for each in replies]}


def as_json(message: Message) -> dict[str, Any]:
    """Return what a client is shown of a message."""
    return {
        "id": message.id,
        "text": message.text,
        "created_at": None if message.created_at is None else rfc3339(message.created_at),
        "reply_to": message.reply_to,
    }


def rfc3339(milliseconds: int) -> str:
    """Return a time since 1970 as RFC 3339 writes it, in UTC."""
    time = EPOCH + milliseconds * MILLISECOND
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
