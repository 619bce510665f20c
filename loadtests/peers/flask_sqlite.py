"""The API in Flask on SQLite, as Flask's own tutorial writes it (an application factory, `get_db`, `g`).

Run with gunicorn, from `create_app()`; DATABASE names the file. Its journal is SQLite's default, and each
message is committed and synced to the disk before it is answered.
"""

import os
import sqlite3
from typing import Any

from flask import Flask, abort, current_app, g, request

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    text TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""


def get_db() -> sqlite3.Connection:
    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
        g.db.execute("PRAGMA synchronous = FULL")  # the default of most builds; here it must not depend on one
    return g.db


def close_db(error: BaseException | None = None) -> None:
    db = g.pop("db", None)
    if db is not None:
        db.close()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["DATABASE"] = os.environ["DATABASE"]
    app.teardown_appcontext(close_db)
    with app.app_context():
        get_db().execute(SCHEMA)

    @app.get("/messages")
    def list_messages() -> dict[str, Any]:
        limit = request.args.get("limit", default=20, type=int)
        if not 1 <= limit <= 1000:
            abort(400)
        rows = get_db().execute("SELECT * FROM message ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
        return {"messages": [_as_json(row) for row in rows]}

    @app.post("/messages")
    def create_message() -> tuple[dict[str, Any], int]:
        new = request.get_json()
        text, author = new.get("text", ""), new.get("author", "anonymous")
        if not 1 <= len(text) <= 4000 or not 1 <= len(author) <= 80:
            abort(400)
        db = get_db()
        cursor = db.execute("INSERT INTO message (text, author) VALUES (?, ?)", (text, author))
        db.commit()
        row = db.execute("SELECT * FROM message WHERE id = ?", (cursor.lastrowid,)).fetchone()
        return _as_json(row), 201

    return app


def _as_json(row: sqlite3.Row) -> dict[str, Any]:
    return dict(row) | {"id": str(row["id"])}
