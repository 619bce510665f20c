"""A server on the lab's first data model: messages are `{_id, text}` and nothing else."""

import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click
from pymongo import MongoClient

from harness import interrupts, mongod
from harness.options import DATABASE

Answer = tuple[int, dict[str, Any]]


class Service:
    """What the requests do to the database."""

    def __init__(self, uri: str) -> None:
        self.database = MongoClient[dict[str, Any]](uri, w="majority", journal=True)[DATABASE]
        # An id begins with the second and ends with a count: one process makes them in order.
        self.in_order = threading.Lock()

    def hello(self, query: dict[str, list[str]], body: bytes) -> Answer:
        self.database.visits.insert_one({})
        return 200, {"greeting": "Hello!"}

    def visits(self, query: dict[str, list[str]], body: bytes) -> Answer:
        return 200, {"count": self.database.visits.count_documents({})}

    def post(self, query: dict[str, list[str]], body: bytes) -> Answer:
        try:
            text = json.loads(body)["text"]
        except (ValueError, LookupError, TypeError):
            return 400, {"error": 'send JSON such as {"text": "hello"}'}
        if not isinstance(text, str) or not 1 <= len(text) <= 4000:
            return 422, {"error": "text: give 1 to 4000 characters"}
        with self.in_order:
            id = self.database.messages.insert_one({"text": text}).inserted_id
        return 201, {"id": str(id), "text": text}

    def newest(self, query: dict[str, list[str]], body: bytes) -> Answer:
        (limit,) = query.get("limit", ["20"])
        if not re.fullmatch("[0-9]{1,4}", limit) or not 1 <= int(limit) <= 1000:
            return 400, {"error": "limit: give a whole number from 1 to 1000"}
        found = self.database.messages.find().sort("_id", -1).limit(int(limit))
        return 200, {"messages": [{"id": str(each["_id"]), "text": each["text"]} for each in found]}


class Handler(BaseHTTPRequestHandler):
    """Reads a request, has the service answer it, and writes the answer."""

    protocol_version = "HTTP/1.1"
    routes: dict[str, Callable[[dict[str, list[str]], bytes], Answer]]

    def handle_one(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        route = self.routes.get(f"{self.command} {path}")
        status, document = route(query, body) if route else (404, {"error": "there is nothing here"})
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = handle_one  # noqa: N815  the names that http.server looks for

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True)
def command(port: int, data: Path) -> None:
    """Serve on PORT, with the database in the folder DATA."""
    interrupts.handle()
    with mongod.running(data) as uri:
        service = Service(uri)
        Handler.routes = {
            "GET /": service.hello,
            "GET /visits": service.visits,
            "POST /messages": service.post,
            "GET /messages": service.newest,
        }
        with Server(("127.0.0.1", port), Handler) as server, suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    command()
