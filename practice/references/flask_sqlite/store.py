"""Messages and visits in one SQLite file. A write is committed, and synced to the disk, before its call returns."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

EPOCH = datetime.fromtimestamp(0, UTC)
MILLISECOND = timedelta(milliseconds=1)
MAX_ID = 2**63 - 1

# Each step runs once, in one transaction together with the note that it has run: killed in between, it has not begun.
# Step 1 takes the tables of stage 2 as they are. When their messages were sent was not written down, and the time of
# the migration would be a lie: they stay without a time.
MIGRATIONS = (
    """
    CREATE TABLE IF NOT EXISTS visit (id INTEGER PRIMARY KEY AUTOINCREMENT);
    CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);
    """,
    """
    ALTER TABLE message ADD COLUMN created_at INTEGER;  -- milliseconds since 1970, UTC
    CREATE INDEX message_created_at ON message (created_at);
    """,
    """
    ALTER TABLE message ADD COLUMN reply_to INTEGER REFERENCES message (id);
    CREATE INDEX message_reply_to ON message (reply_to);
    """,
    """
    ALTER TABLE message ADD COLUMN sms_sid TEXT;
    CREATE UNIQUE INDEX message_sms_sid ON message (sms_sid);
    """,
)


class UnknownParent(Exception):
    """`reply_to` names no message."""


@dataclass(frozen=True)
class Message:
    """A stored message. `created_at` is in milliseconds since 1970, UTC; None if it is not known."""

    id: int
    text: str
    created_at: int | None
    reply_to: int | None


class Store:
    """The database in the folder `data`. Safe to use from any thread."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._path = data / "messages.db"
        # SQLite has one writer at a time. Threads that wait here take turns; at the file they would poll for it.
        self._one_writer = threading.Lock()
        self._writer = self._connect()
        self._migrate()

    def visit(self) -> None:
        """Store that somebody was here."""
        with self._writing() as db:
            db.execute("INSERT INTO visit DEFAULT VALUES")

    def visits(self) -> int:
        """Return how many visits are stored."""
        with self._reading() as db:
            return int(db.execute("SELECT count(*) FROM visit").fetchone()[0])

    def add(self, text: str, reply_to: int | None = None, sms_sid: str | None = None) -> Message | None:
        """Store a message and return it; None if the SMS `sms_sid` is stored already. Raises `UnknownParent`."""
        with self._writing() as db:
            if reply_to is not None and _find(db, reply_to) is None:
                raise UnknownParent
            created_at = (datetime.now(UTC) - EPOCH) // MILLISECOND
            cursor = db.execute(
                "INSERT INTO message (text, created_at, reply_to, sms_sid) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [text, created_at, reply_to, sms_sid],
            )
        if cursor.rowcount == 0 or cursor.lastrowid is None:
            return None
        return Message(cursor.lastrowid, text, created_at, reply_to)

    def newest(self, limit: int, since: datetime | None = None) -> list[Message]:
        """Return the `limit` newest messages, newest first; only those created at or after `since`."""
        newest_first = "ORDER BY id DESC LIMIT ?"
        with self._reading() as db:
            if since is None:
                return _messages(db, newest_first, limit)
            # Times are stored in milliseconds: a `since` between two of them begins at the later one.
            earliest = -((EPOCH - since) // MILLISECOND)
            return _messages(db, f"WHERE created_at >= ? {newest_first}", earliest, limit)

    def find(self, id: int) -> tuple[Message, list[Message]] | None:
        """Return a message and its replies, oldest first; None if there is no such message."""
        with self._reading() as db:
            message = _find(db, id)
            return None if message is None else (message, _messages(db, "WHERE reply_to = ? ORDER BY id", id))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection that writes. Its changes are committed when the block ends, unless it raises."""
        with self._one_writer, self._writer:
            yield self._writer

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of the caller's own: it waits for nobody."""
        with closing(self._connect()) as connection:
            yield connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut, not only the process's end
        return connection

    def _migrate(self) -> None:
        """Apply the migrations that the file has not seen; `user_version` counts those that it has."""
        self._writer.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the writer
        (applied,) = self._writer.execute("PRAGMA user_version").fetchone()
        for version, step in enumerate(MIGRATIONS[applied:], start=applied + 1):
            self._writer.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {version}; COMMIT;")


def _find(db: sqlite3.Connection, id: int) -> Message | None:
    return next(iter(_messages(db, "WHERE id = ?", id)), None)


def _messages(db: sqlite3.Connection, which: str, *values: int) -> list[Message]:
    rows = db.execute(f"SELECT id, text, created_at, reply_to FROM message {which}", values)  # noqa: S608
    return [Message(*row) for row in rows]
