"""A small message service on SQLite that is right in stages 1 and 2: what tests change to make it wrong."""

import argparse
import json
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.0, as this class does if nothing is said: every answer ends with its connection."""

    def do_GET(self):
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if path == "/":
            execute("INSERT INTO visits DEFAULT VALUES")
            self.answer(200, {"hello": "world"})
        elif path == "/visits":
            self.answer(200, {"count": execute("SELECT count(*) FROM visits")[0][0]})
        elif path == "/messages":
            limit = query.get("limit", ["20"])[0]
            if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit) <= 1000:
                self.answer(400, {"error": "limit"})
                return
            rows = execute("SELECT id, text FROM messages ORDER BY id DESC LIMIT ?", int(limit))
            self.answer(200, {"messages": [{"id": id, "text": text} for id, text in rows]})
        else:
            self.answer(404, {"error": "there is nothing here"})

    def do_POST(self):
        try:
            text = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))["text"]
            text.encode()
        except (ValueError, KeyError, TypeError, AttributeError):
            self.answer(400, {"error": "no JSON with a text"})
            return
        [[id]] = execute("INSERT INTO messages (text) VALUES (?) RETURNING id", text)
        self.answer(201, {"id": id, "text": text})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)


def execute(sql, *values):
    with closing(sqlite3.connect(options.data / "notes.db", timeout=30)) as db, db:
        return db.execute(sql, values).fetchall()


class Server(ThreadingHTTPServer):
    request_queue_size = 128


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--data", type=Path)
options = parser.parse_args()
execute("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY)")
execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT)")
Server(("127.0.0.1", options.port), Handler).serve_forever()
