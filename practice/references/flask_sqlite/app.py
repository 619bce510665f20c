"""A message service in Flask on SQLite: `python app.py --port PORT --data FOLDER`."""

import argparse
import json
import logging
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from limit import TokenBucket
from recent import RecentCache
from store import EPOCH, MAX_ID, MILLISECOND, Message, Store, UnknownParent
from webhooks import escaped, is_from_slack, is_from_twilio, unescaped
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, NotFound, TooManyRequests, Unauthorized
from werkzeug.exceptions import UnprocessableEntity as Impossible

MAX_TEXT = 4000
MAX_LIMIT = 1000
TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'  # says nothing back to the phone
SLACK_HELP = "Write `send TEXT` or `list N`."


def create_app(data: Path) -> Flask:
    """Return the application, which keeps its database in the folder `data`."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
    public_url = os.environ.get("PUBLIC_BASE_URL", "").rstrip("/")
    twilio_token = os.environ.get("TWILIO_AUTH_TOKEN", "")
    slack_secret = os.environ.get("SLACK_SIGNING_SECRET", "")
    write_limit = os.environ.get("WRITE_LIMIT")

    store = Store(data)
    recent = RecentCache(store.newest)
    writes = TokenBucket(float(write_limit) if write_limit else None)

    def admit() -> None:
        """Count one write. Refuses it (429) before any work is done for it."""
        if wait := writes.seconds_to_wait():
            raise TooManyRequests("too many writes: try again later", retry_after=int(wait) + 1)

    def store_message(text: str, reply_to: int | None = None, sms_sid: str | None = None) -> Message | None:
        message = store.add(text, reply_to, sms_sid)
        recent.note_stored()
        return message

    @app.get("/")
    def hello() -> dict[str, str]:
        store.visit()
        return {"greeting": "Hello! Post a message to /messages, or read the newest ones there."}

    @app.get("/visits")
    def visits() -> dict[str, int]:
        return {"count": store.visits()}

    @app.post("/messages")
    def post_message() -> tuple[dict[str, Any], int]:
        admit()
        body = json_object(request.get_data())
        text, parent = checked_text(body.get("text")), checked_reply_to(body.get("reply_to"))
        try:
            message = store_message(text, parent)
        except UnknownParent:
            raise Impossible(f"reply_to: there is no message {parent}") from None
        assert message is not None  # only an SMS can be there already
        return as_json(message), 201

    @app.get("/messages")
    def list_messages() -> dict[str, Any]:
        limit = whole_number(request.args.get("limit", "20"), "limit", MAX_LIMIT)
        since = request.args.get("since")
        messages = recent.newest(limit) if since is None else store.newest(limit, point_in_time(since))
        return {"messages": [as_json(each) for each in messages]}

    @app.get("/messages/<id>")
    def one_message(id: str) -> dict[str, Any]:
        found = store.find(int(id)) if re.fullmatch("[0-9]{1,18}", id) else None
        if found is None:
            raise NotFound(f"there is no message {id}")
        message, replies = found
        return as_json(message) | {"replies": [as_json(each) for each in replies]}

    @app.post("/sms")
    def sms() -> Response:
        # What Twilio signed is the address that it called, which a proxy may have changed on the way here.
        url = public_url + request.full_path.removesuffix("?")
        if not is_from_twilio(twilio_token, url, request.form, request.headers.get("X-Twilio-Signature")):
            raise Forbidden("this is not signed by Twilio for " + url)
        text = request.form.get("Body", "")
        if text.strip():
            admit()
            # Twilio sends a text again if it has not heard from us: the same MessageSid is the same text.
            store_message(checked_text(text), sms_sid=request.form.get("MessageSid"))
        return Response(TWIML, content_type="text/xml")

    @app.post("/slack/commands")
    def slack_command() -> dict[str, str]:
        if not is_from_slack(slack_secret, request.get_data(), request.headers):
            raise Unauthorized("this is not signed by Slack within the last five minutes")
        verb, _, rest = request.form.get("text", "").strip().partition(" ")
        try:
            answer = obey(verb, rest)
        except (BadRequest, Impossible) as error:
            answer = escaped(error.description or SLACK_HELP)  # Slack shows an answer only if its status is 200
        return {"response_type": "ephemeral", "text": answer}

    def obey(verb: str, rest: str) -> str:
        if verb == "send":
            admit()
            store_message(checked_text(unescaped(rest)))
            return "Stored."
        if verb == "list":
            messages = recent.newest(whole_number(rest.strip() or "10", "N", MAX_LIMIT))
            return "\n".join(escaped(each.text) for each in messages) or "There are no messages yet."
        return SLACK_HELP

    @app.errorhandler(HTTPException)
    def as_problem(error: HTTPException) -> Response:
        answer = Response(json.dumps({"error": error.description}), error.code, content_type="application/json")
        for name, value in error.get_headers():
            if name != "Content-Type":
                answer.headers[name] = value
        return answer

    return app


def as_json(message: Message) -> dict[str, Any]:
    """Return what a client is shown of a message. Times are RFC 3339 in UTC, with milliseconds."""
    time = (EPOCH + message.created_at * MILLISECOND).isoformat(timespec="milliseconds")
    return {
        "id": message.id,
        "text": message.text,
        "created_at": time.replace("+00:00", "Z"),
        "reply_to": message.reply_to,
    }


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
        raise Impossible(f"text: give 1 to {MAX_TEXT} characters, not all of them blank")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise Impossible("text: half of a surrogate pair is no character")
    return text


def checked_reply_to(parent: object) -> int | None:
    """Return the id of the message that is answered, or None. Refuses with 422 what cannot be an id."""
    if parent is None:
        return None
    if type(parent) is not int or not 0 < parent <= MAX_ID:
        raise Impossible("reply_to: give the id of a message, a whole number")
    return parent


def whole_number(text: str, name: str, largest: int) -> int:
    """Return the number that `text` writes in digits, from 1 to `largest`. Refuses others with 400."""
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= largest:
        raise BadRequest(f"{name}: give a whole number from 1 to {largest}")
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the database")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    create_app(options.data).run(port=options.port, threaded=True)
