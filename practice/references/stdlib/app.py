"""A message service with nothing but Python's standard library: `python app.py --port PORT --data FOLDER`."""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, parse_qsl, urlsplit

from migrate import migrate, rfc3339

MAX_BODY = 64 * 1024
MAX_TEXT = 4000
MAX_LIMIT = 1000
STALE_SECONDS = 0.5
COLUMNS = "id, text, created_at, reply_to"
TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


class Refusal(Exception):
    """An answer other than the one that was asked for: its status, its text and how many seconds to wait."""


def refuse(status: int, text: str, retry_after: int | None = None) -> NoReturn:
    raise Refusal(status, text, retry_after)


class Service:
    """The messages and visits. One connection, and one thread at a time that uses it."""

    def __init__(self, data: Path, write_limit: float | None) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.db = migrate(data)
        self.lock = threading.Lock()
        self.cached: dict[int, tuple[float, list[Any]]] = {}
        self.write_limit = write_limit
        self.admission = threading.Lock()  # one of its own: to refuse must not wait for the database
        self.admitted: list[float] = []

    def visit(self) -> None:
        with self.lock, self.db:
            self.db.execute("INSERT INTO visits DEFAULT VALUES")

    def visits(self) -> int:
        with self.lock:
            return int(self.db.execute("SELECT count(*) FROM visits").fetchone()[0])

    def admit(self) -> None:
        """Count a write; refuse it if as many as the limit were admitted within the last second."""
        if self.write_limit is None:
            return
        with self.admission:
            now = time.monotonic()
            self.admitted = [each for each in self.admitted if each > now - 1]
            if len(self.admitted) >= self.write_limit:
                refuse(429, "too many writes: try again in a second", retry_after=1)
            self.admitted.append(now)

    def add(self, text: object, reply_to: object = None, sid: str | None = None) -> dict[str, Any]:
        """Store a message, once for each `sid`, and return it."""
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
            refuse(422, f"text: give 1 to {MAX_TEXT} characters, not all of them blank")
        if any("\ud800" <= each <= "\udfff" for each in text):
            refuse(422, "text: half of a surrogate pair is no character")
        if reply_to is not None:
            self.thread(reply_to)
        with self.lock, self.db:
            created_at = rfc3339(datetime.now(UTC))
            cursor = self.db.execute(
                "INSERT OR IGNORE INTO messages (text, created_at, reply_to, sid) VALUES (?, ?, ?, ?)",
                [text, created_at, reply_to, sid],
            )
        return shown((cursor.lastrowid, text, created_at, reply_to))

    def newest(self, limit: int) -> list[Any]:
        """Return the newest messages, newest first; they may be STALE_SECONDS old."""
        read_at, rows = self.cached.get(limit, (0.0, []))
        if time.monotonic() - read_at > STALE_SECONDS:
            read_at = time.monotonic()
            rows = self.since(limit, "")
            self.cached[limit] = (read_at, rows)
        return rows

    def since(self, limit: int, earliest: str) -> list[Any]:
        """Return the newest messages that were created at `earliest` or later, a time as `rfc3339` writes it."""
        with self.lock:
            return self.db.execute(
                f"SELECT {COLUMNS} FROM messages WHERE coalesce(created_at, '') >= ? ORDER BY id DESC LIMIT ?",  # noqa: S608
                [earliest, limit],
            ).fetchall()

    def thread(self, id: object) -> dict[str, Any]:
        """Return a message with its replies, oldest first."""
        if type(id) is not int or not 0 < id < 2**63:
            refuse(422, "give the id of a message, a whole number")
        with self.lock:
            message = self.db.execute(f"SELECT {COLUMNS} FROM messages WHERE id = ?", [id]).fetchone()  # noqa: S608
            replies = self.db.execute(
                f"SELECT {COLUMNS} FROM messages WHERE reply_to = ? ORDER BY id",  # noqa: S608
                [id],
            ).fetchall()
        if message is None:
            refuse(404, f"there is no message {id}")
        return shown(message) | {"replies": [shown(each) for each in replies]}


def shown(row: Any) -> dict[str, Any]:
    return dict(zip(COLUMNS.split(", "), row, strict=True))


class Handler(BaseHTTPRequestHandler):
    """Reads requests, calls the service and writes answers."""

    service: Service
    timeout = 10  # seconds that a client may take to send the next byte

    def do_GET(self) -> None:
        self.answer_with(self.get)

    def do_POST(self) -> None:
        self.answer_with(self.post)

    def get(self, path: str, query: dict[str, str], body: bytes) -> None:
        if path == "/":
            self.service.visit()
            self.answer(200, {"greeting": "Hello!"})
        elif path == "/visits":
            self.answer(200, {"count": self.service.visits()})
        elif path == "/messages":
            limit = whole_number(query.get("limit", "20"), MAX_LIMIT)
            rows = self.service.since(limit, utc(query["since"])) if "since" in query else self.service.newest(limit)
            self.answer(200, {"messages": [shown(each) for each in rows]})
        elif match := re.fullmatch("/messages/([0-9]{1,18})", path):
            self.answer(200, self.service.thread(int(match[1])))
        else:
            refuse(404, "there is nothing here")

    def post(self, path: str, query: dict[str, str], body: bytes) -> None:
        if path == "/messages":
            self.service.admit()
            document = json_object(body)
            self.answer(201, self.service.add(document.get("text"), document.get("reply_to")))
        elif path == "/sms":
            form = parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
            if not self.is_from_twilio(form):
                refuse(403, "this is not signed by Twilio")
            fields = dict(form)
            if fields.get("Body", "").strip():
                self.service.admit()
                self.service.add(fields["Body"], sid=fields.get("MessageSid"))
            self.answer(200, TWIML, "text/xml")
        elif path == "/slack/commands":
            if not self.is_from_slack(body):
                refuse(401, "this is not signed by Slack within the last five minutes")
            text = dict(parse_qsl(body.decode(errors="replace"))).get("text", "")
            self.answer(200, {"response_type": "ephemeral", "text": self.obey(text.strip())})
        else:
            refuse(404, "there is nothing here")

    def obey(self, words: str) -> str:
        verb, _, rest = words.partition(" ")
        if verb == "send" and rest.strip():
            self.service.admit()
            self.service.add(rest.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
            return "Stored."
        if verb == "list" and re.fullmatch("[1-9][0-9]{0,2}", rest.strip() or "10"):
            texts = [text for _, text, *_ in self.service.newest(int(rest or 10))]
            return "\n".join(t.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for t in texts)
        return "Write `send TEXT` or `list N`."

    def is_from_twilio(self, form: list[tuple[str, str]]) -> bool:
        url = os.environ.get("PUBLIC_BASE_URL", "").rstrip("/") + self.path
        signed = url + "".join(name + value for name, value in sorted(set(form)))
        token = os.environ.get("TWILIO_AUTH_TOKEN", "")
        right = base64.b64encode(hmac.digest(token.encode(), signed.encode(), hashlib.sha1))
        return bool(token) and hmac.compare_digest(right, self.headers.get("X-Twilio-Signature", "").encode())

    def is_from_slack(self, body: bytes) -> bool:
        secret, sent_at = os.environ.get("SLACK_SIGNING_SECRET", ""), self.headers.get("X-Slack-Request-Timestamp", "")
        if not secret or not re.fullmatch("[0-9]{1,12}", sent_at) or abs(time.time() - int(sent_at)) > 300:
            return False
        right = "v0=" + hmac.new(secret.encode(), b"v0:%s:%s" % (sent_at.encode(), body), hashlib.sha256).hexdigest()
        return hmac.compare_digest(right.encode(), self.headers.get("X-Slack-Signature", "").encode())

    def answer_with(self, respond: Any) -> None:
        """Read the request, call `respond`, and answer what it refuses."""
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        try:
            respond(parts.path, query, self.body())
        except Refusal as refusal:
            status, text, retry_after = refusal.args
            self.answer(status, {"error": text}, retry_after=retry_after)

    def body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            refuse(400, "Content-Length is not a number")
        body = self.rfile.read(min(int(length), MAX_BODY + 1))
        if len(body) > MAX_BODY:
            left = int(length) - len(body)  # is read too: who is hung up on while sending does not hear why
            while left > 0 and (dropped := self.rfile.read(min(left, MAX_BODY))):
                left -= len(dropped)
            refuse(413, f"the body has more than {MAX_BODY} bytes")
        return body

    def answer(
        self, status: int, document: object, kind: str = "application/json", retry_after: int | None = None
    ) -> None:
        body = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing for each request."""


def json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        refuse(400, "the body is not JSON in UTF-8")
    if not isinstance(document, dict):
        refuse(400, 'the body is not a JSON object such as {"text": "hello"}')
    return document


def whole_number(text: str, largest: int) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= largest:
        refuse(400, f"limit: give a whole number from 1 to {largest}")
    return int(text)


def utc(text: str) -> str:
    """Return an RFC 3339 time in UTC, in the form in which times are stored."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            refuse(400, "since: give the offset from UTC too: end the time with Z or with one such as +02:00")
        return rfc3339(moment)
    except (ValueError, OverflowError):
        refuse(400, "since: give a time such as 2026-02-28T12:00:00Z; in a URL write + as %2B")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the database")
    options = parser.parse_args()
    limit = os.environ.get("WRITE_LIMIT")
    Handler.service = Service(options.data, float(limit) if limit else None)
    Server(("127.0.0.1", options.port), Handler).serve_forever()
