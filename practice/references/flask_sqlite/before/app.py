"""The message service as it was at the end of stage 2: texts and visits, and no time yet."""

import argparse
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask, abort, request

SCHEMA = """
CREATE TABLE IF NOT EXISTS visit (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);
"""


def create_app(data: Path) -> Flask:
    """Return the application, which keeps its database in the folder `data`."""
    app = Flask(__name__)

    @contextmanager
    def database() -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(data / "messages.db", timeout=30)
        try:
            with connection:  # commits when the block ends
                yield connection
        finally:
            connection.close()

    with database() as db:
        db.executescript(SCHEMA)

    @app.get("/")
    def hello() -> dict[str, str]:
        with database() as db:
            db.execute("INSERT INTO visit DEFAULT VALUES")
        return {"greeting": "Hello!"}

    @app.get("/visits")
    def visits() -> dict[str, int]:
        with database() as db:
            return {"count": db.execute("SELECT count(*) FROM visit").fetchone()[0]}

    @app.post("/messages")
    def create() -> tuple[dict[str, Any], int]:
        body = request.get_json()
        text = body.get("text") if isinstance(body, dict) else None
        if not isinstance(text, str) or not 1 <= len(text) <= 4000:
            abort(400, "give a text of 1 to 4000 characters")
        with database() as db:
            id = db.execute("INSERT INTO message (text) VALUES (?)", [text]).lastrowid
        return {"id": id, "text": text}, 201

    @app.get("/messages")
    def newest() -> dict[str, Any]:
        limit = request.args.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
            abort(400, "limit is a whole number from 1 to 1000")
        with database() as db:
            rows = db.execute("SELECT id, text FROM message ORDER BY id DESC LIMIT ?", [int(limit)]).fetchall()
        return {"messages": [{"id": id, "text": text} for id, text in rows]}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    create_app(options.data).run(port=options.port, threaded=True)
