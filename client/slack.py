"""Simulates Slack: signs commands and mentions with Slack's library, and receives the service's results."""

import json
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote_plus, urlencode

import requests
from slack_sdk.signature import SignatureVerifier

from client import webhooks

COMMANDS = "/integrations/slack/commands"
EVENTS = "/integrations/slack/events"
BOT = "U0BACKENDLAB"
FORM = "application/x-www-form-urlencoded"


@dataclass
class Channel:
    """A simulated Slack channel; `response_url` is the URL to which the service sends the results of commands."""

    response_url: str
    answers: "queue.Queue[dict[str, Any]]" = field(default_factory=queue.Queue)

    def answer(self, seconds: float = 10.0) -> dict[str, Any]:
        """Wait for the next result and return its JSON. Raises `TimeoutError` after `seconds`."""
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no result arrived within {seconds:g} s") from None


@contextmanager
def channel() -> Iterator[Channel]:
    """Run a channel on 127.0.0.1 during the block; the service needs `--slack-response-urls loopback` to reach it."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            shown.answers.put(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        shown = Channel(f"http://127.0.0.1:{server.server_port}/commands/{secrets.token_hex(8)}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield shown
        finally:
            server.shutdown()
            thread.join()


def command(
    url: str,
    signing_secret: str,
    line: str,
    response_url: str,
    user: str = "you",
    at: float | None = None,
    path: str = COMMANDS,
    quote_via: Callable[..., str] = quote_plus,
) -> requests.PreparedRequest:
    """Build the signed request for the slash command `line`, such as "/msg list 5".

    `at` is the time of the signature in Unix seconds, now by default. `path` is where the service listens for
    commands. `quote_via` encodes the form: `urllib.parse.quote` writes a space as %20 instead of +.
    """
    word, _, text = line.strip().partition(" ")
    fields = {
        "team_id": "T0",
        "channel_id": "C0",
        "user_id": f"U{user.upper()}",
        "user_name": user,
        "command": word,
        "text": _escaped(text),
        "response_url": response_url,
        "trigger_id": secrets.token_hex(16),
    }
    return _signed(url + path, signing_secret, urlencode(fields, quote_via=quote_via), FORM, at)


def mention(
    url: str, signing_secret: str, text: str, user: str = "you", event_id: str | None = None, at: float | None = None
) -> requests.PreparedRequest:
    """Build the signed request for a mention of the app with `text`; retries of an event have the same `event_id`."""
    event = {"type": "app_mention", "user": f"U{user.upper()}", "text": f"<@{BOT}> {_escaped(text)}", "ts": "1.0"}
    outer = {
        "type": "event_callback",
        "event_id": event_id or f"Ev{secrets.token_hex(5).upper()}",
        "authorizations": [{"user_id": BOT, "is_bot": True}],
        "event": event,
    }
    return _signed(url + EVENTS, signing_secret, json.dumps(outer), "application/json", at)


def deliver(request: requests.PreparedRequest) -> requests.Response:
    """Send a signed request and return the response. Raises `client.ClientError`."""
    return webhooks.send(request)


def lines(message: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of text that a channel shows for a result (a message with Block Kit blocks or a text)."""
    blocks = message.get("blocks")
    if not blocks:
        yield _shown(str(message.get("text", "")))
    for block in blocks or ():
        if block["type"] == "section":
            yield _shown(block["text"]["text"])
        else:
            yield "  " + "  ".join(_shown(each["text"]) for each in block["elements"])


def _shown(text: str) -> str:
    text = re.sub(r"<!date\^\d+\^[^|>]*\|([^>]*)>", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _signed(url: str, signing_secret: str, body: str, kind: str, at: float | None) -> requests.PreparedRequest:
    timestamp = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(signing_secret).generate_signature(timestamp=timestamp, body=body)
    headers = {"Content-Type": kind, "X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}
    return requests.Request("POST", url, data=body.encode(), headers=headers).prepare()
