"""Bring the data of stage 2 along: `python migrate.py --data FOLDER`. It may be run again, and it may be killed."""

import argparse
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

COLUMNS = ("created_at TEXT", "reply_to INTEGER", "sid TEXT")


def migrate(data: Path) -> sqlite3.Connection:
    """Return the database in the folder `data`, made or brought up to date in one transaction."""
    file = data / "service.db"
    # When old messages were sent was not written down, and now would be a lie: their created_at stays NULL.
    db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    db.execute("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY)")
    db.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    there = {name for _, name, *_ in db.execute("PRAGMA table_info(messages)")}
    for column in COLUMNS:
        if column.split()[0] not in there:
            db.execute(f"ALTER TABLE messages ADD COLUMN {column}")
    db.execute("CREATE INDEX IF NOT EXISTS replies ON messages (reply_to)")
    db.execute("CREATE UNIQUE INDEX IF NOT EXISTS sids ON messages (sid)")
    db.execute("COMMIT")
    db.isolation_level = "DEFERRED"  # from here on `with db:` commits
    return db


def rfc3339(moment: datetime) -> str:
    """Return a time as text, in UTC with microseconds: texts of this form sort as their times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    migrate(parser.parse_args().data).close()
