"""Fill a database with messages of an older version of the data model."""

import secrets
import time
from collections.abc import Iterator

from bson import ObjectId

from migrations import runner
from migrations.database import Database, Document, MigrationError
from migrations.runner import Options

YEARS = 3
BATCH = 5000
TEXTS = (
    "shall we have lunch at the usual place?", "the build is green again", "who has the key to the lab?",
    "I shall be ten minutes late", "done, please have a look", "see you on Monday",
)  # fmt: skip


def seed(database: Database, version: int, count: int, stragglers: bool, options: Options) -> None:
    """Fill the empty `database` with `count` messages of the last YEARS years, in the shape of data model `version`.

    With `stragglers` the messages have the shape of version 1 although later steps are applied, as if a server of the
    first version were still running. Raises `MigrationError` if there are messages already.
    """
    if database.messages.find_one({}, {"_id": True}) is not None:
        raise MigrationError(f"the database {database.name} has messages: name a new one with --database")
    runner.up(database, str(version if stragglers else 1), options)
    done = 0
    for batch in _batches(count):
        database.messages.insert_many(batch, ordered=False)
        done += len(batch)
        options.progress("seed", done, count)
    if not stragglers:
        runner.up(database, str(version), options)


def _batches(count: int) -> Iterator[list[Document]]:
    """Yield batches of documents `{_id, text}`, whose ObjectIds are evenly spread over the last YEARS years."""
    now, machine = int(time.time()), secrets.token_bytes(5)
    span = YEARS * 365 * 24 * 3600
    for begin in range(0, count, BATCH):
        yield [
            {"_id": _object_id(now - span + span * number // count, machine, number), "text": _text(number)}
            for number in range(begin, min(begin + BATCH, count))
        ]


def _object_id(second: int, machine: bytes, number: int) -> ObjectId:
    return ObjectId(second.to_bytes(4, "big") + machine + (number % (1 << 24)).to_bytes(3, "big"))


def _text(number: int) -> str:
    return f"{TEXTS[number % len(TEXTS)]} ({number})"
