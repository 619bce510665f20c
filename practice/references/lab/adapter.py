"""The lab's own service, spoken to in the words of the exercises: `python adapter.py --port PORT --data FOLDER`.

Most requests are passed on as they are. `/visits`, which the service does not have, is counted in its database. Twilio
and Slack sign what they send for one address and one body. Here both change on the way, so what was signed rightly is
signed again; everything else keeps its signature, for the service to refuse.
"""

import hmac
import json
import os
import queue
import secrets
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import click
from pymongo import MongoClient
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from client import slack, sms
from harness import interrupts
from harness.options import DATABASE
from loadtests import service

SENT_ON = ("Content-Type", "X-Twilio-Signature", "X-Slack-Request-Timestamp", "X-Slack-Signature")
SENT_BACK = ("Content-Type", "Location", "Allow", "Retry-After")
ANSWERS = "/adapter/answers/"  # where the service sends its answers to Slack commands
ANSWER_SECONDS = 3.0


class Adapter(ThreadingHTTPServer):
    """Listens on `port`, and passes requests on to the service at `url`."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, url: str, database: MongoClient[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.service_address = urlsplit(url).netloc
        self.visits = database[DATABASE].visits
        self.answers: dict[str, queue.Queue[bytes]] = {}  # by the path to which the service sends each
        self.twilio_token = os.environ.get("TWILIO_AUTH_TOKEN", "")
        self.slack_secret = os.environ.get("SLACK_SIGNING_SECRET", "")
        self.public_url = os.environ.get("PUBLIC_BASE_URL", "").rstrip("/")

    def serve_until_interrupted(self) -> None:
        """Serve until Ctrl-C or SIGTERM."""
        with suppress(KeyboardInterrupt):
            self.serve_forever()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, and one to the service."""

    server: Adapter
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.service = HTTPConnection(self.server.service_address)

    def finish(self) -> None:
        self.service.close()
        with suppress(OSError):  # the client has gone
            super().finish()

    def do_GET(self) -> None:
        if self.path == "/visits":
            self.answer(
                200, {"Content-Type": "application/json"}, _json({"count": self.server.visits.count_documents({})})
            )
        else:
            self.pass_on(self.path, self.body())

    def do_POST(self) -> None:
        body = self.body()
        if self.path == "/sms":
            self.pass_on(sms.PATH, body, self.signed_again_for_twilio(body))
        elif self.path == "/slack/commands":
            self.slack_command(body)
        elif self.path in self.server.answers:
            self.server.answers[self.path].put(body)
            self.answer(200, {}, b"ok")
        else:
            self.pass_on(self.path, body)

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815  the names that http.server looks for

    def signed_again_for_twilio(self, body: bytes) -> dict[str, str]:
        """Return the signature for the service's own path, if the one for ours is right."""
        form = MultiDict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        validator, given = RequestValidator(self.server.twilio_token), self.headers.get("X-Twilio-Signature")
        if not given or not validator.validate(self.server.public_url + self.path, form, given):
            return {}
        return {"X-Twilio-Signature": validator.compute_signature(self.server.public_url + sms.PATH, form)}

    def slack_command(self, body: bytes) -> None:
        """Have the service answer to us, and give the client its answer."""
        path = ANSWERS + secrets.token_hex(16)
        answer = self.server.answers[path] = queue.Queue()
        try:
            status, headers, said = self.ask(slack.COMMANDS, *self.with_response_url(body, path))
            with suppress(queue.Empty):
                if status == 200:
                    headers, said = {"Content-Type": "application/json"}, answer.get(timeout=ANSWER_SECONDS)
        finally:
            del self.server.answers[path]
        self.answer(status, headers, said)

    def with_response_url(self, body: bytes, path: str) -> tuple[bytes, dict[str, str]]:
        """Return a command that is to be answered at `path`, and its signature, if that of `body` is right."""
        timestamp, given = self.headers.get("X-Slack-Request-Timestamp", ""), self.headers.get("X-Slack-Signature", "")
        verifier = SignatureVerifier(self.server.slack_secret)
        try:
            right = verifier.generate_signature(timestamp=timestamp, body=body) or ""
            if not hmac.compare_digest(right.encode(), given.encode()):
                return body, {}
        except UnicodeDecodeError:
            return body, {}
        form = MultiDict(parse_qsl(body.decode(), keep_blank_values=True))
        form["response_url"] = f"http://127.0.0.1:{self.server.server_port}{path}"
        changed = urlencode(list(form.items(multi=True))).encode()
        signature = verifier.generate_signature(timestamp=timestamp, body=changed) or ""
        return changed, {"X-Slack-Signature": signature}

    def pass_on(self, path: str, body: bytes, signed: Mapping[str, str] | None = None) -> None:
        self.answer(*self.ask(path, body, signed or {}))

    def ask(self, path: str, body: bytes, signed: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the service's answer."""
        headers = {name: value for name in SENT_ON if (value := self.headers.get(name)) is not None}
        self.service.request(self.command, path, body or None, {**headers, **signed})
        answer = self.service.getresponse()
        sent_back = {name: value for name in SENT_BACK if (value := answer.getheader(name)) is not None}
        return answer.status, sent_back, answer.read()

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing: the service has a log of its own."""


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def settings(data: Path) -> dict[str, Any]:
    """Return the service's settings for what the environment says."""
    given = {
        "twilio_auth_token": os.environ.get("TWILIO_AUTH_TOKEN"),
        "slack_signing_secret": os.environ.get("SLACK_SIGNING_SECRET"),
        "public_base_url": os.environ.get("PUBLIC_BASE_URL"),
        "write_limit": f"{os.environ['WRITE_LIMIT']}/second" if os.environ.get("WRITE_LIMIT") else None,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return {"data_dir": data, "database": DATABASE, "slack_response_urls": "loopback", **chosen}


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True)
def command(port: int, data: Path) -> None:
    """Run the lab's service with its database in the folder DATA, and the adapter on PORT."""
    interrupts.handle()
    data.mkdir(parents=True, exist_ok=True)
    with service.running(data / "server.log", **settings(data)) as running:
        uri = json.loads((data / "mongod.json").read_text())["uri"]
        with MongoClient[dict[str, Any]](uri) as database, Adapter(port, running.url, database) as adapter:
            adapter.serve_until_interrupted()


if __name__ == "__main__":
    command()
