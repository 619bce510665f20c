"""The message service as it was at the end of stage 2: texts and visits, and no time yet."""

import argparse
import json
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--data", type=Path, required=True)
options = parser.parse_args()

db = sqlite3.connect(options.data / "service.db", check_same_thread=False)
db.execute("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY)")
db.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
one_at_a_time = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/":
            with one_at_a_time, db:
                db.execute("INSERT INTO visits DEFAULT VALUES")
            self.answer(200, {"greeting": "Hello!"})
        elif path == "/visits":
            with one_at_a_time:
                (count,) = db.execute("SELECT count(*) FROM visits").fetchone()
            self.answer(200, {"count": count})
        elif path == "/messages":
            limit = query.get("limit", ["20"])[0]
            if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
                self.answer(400, {"error": "limit: give a whole number from 1 to 1000"})
                return
            with one_at_a_time:
                rows = db.execute("SELECT id, text FROM messages ORDER BY id DESC LIMIT ?", [int(limit)]).fetchall()
            self.answer(200, {"messages": [{"id": id, "text": text} for id, text in rows]})
        else:
            self.answer(404, {"error": "there is nothing here"})

    def do_POST(self) -> None:
        try:
            text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        except (ValueError, LookupError, TypeError):
            self.answer(400, {"error": 'send JSON such as {"text": "hello"}'})
            return
        if not isinstance(text, str) or not 1 <= len(text) <= 4000:
            self.answer(422, {"error": "text: give 1 to 4000 characters"})
            return
        with one_at_a_time, db:
            id = db.execute("INSERT INTO messages (text) VALUES (?)", [text]).lastrowid
        self.answer(201, {"id": id, "text": text})

    def answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        pass


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
