"""The tasks of notebook 02: the time in an id, and migration 0007."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from bson import ObjectId

from migrations import lease, runner
from migrations.backfill import Work
from migrations.database import Database
from migrations.operations import Operation
from notebooks.your_turn.verdict import Verdict, not_yet, right, task

ID = "60a1b2c3d4e5f60718293a4b"
TEXTS = ("lunch?", "the usual place, at one", "Grüße", "🍜 or 🍕?")
FIELD = "length"


@task("datetime.fromtimestamp(SECONDS, UTC), where SECONDS are in the id")
def moment(found: datetime) -> Verdict:
    """Whether `found` is the time at which `ID` was made."""
    true = ObjectId(ID).generation_time
    if found.tzinfo is None:
        return not_yet("a time without a zone is many times", "say UTC: datetime.fromtimestamp(seconds, UTC)")
    if found != true:
        hint = "the first 4 bytes are seconds since 1970, and a byte is two hexadecimal digits: int(ID[:8], 16)"
        return not_yet(f"{found:%Y-%m-%d %H:%M:%S} is another moment", hint)
    return right(f"{true:%Y-%m-%d %H:%M:%S} UTC, without asking MongoDB")


@task("a list of operations, such as the OPERATIONS in migrations/versions/0002_created_at.py")
def migration(operations: Sequence[Operation], uri: str) -> Verdict:
    """Whether `operations` give every message its `length`, and can be repeated and taken back."""
    with _practice_database(uri) as database:
        before = list(database.messages.find())
        for when in ("the first time", "the second time"):
            _run(database, operations, "up")
            if wrong := _wrong(database):
                return not_yet(
                    f"after up, {when}, {wrong}", "the pipeline sets it: {'$strLenCP': '$text'} counts characters"
                )
        if any(operation.touches(database) for operation in operations):
            return not_yet("it would change documents that are done", "todo is a filter for those without the field")
        _insert(database, ["written by an old server"])
        if not any(operation.offenders(database) for operation in operations):
            return not_yet("a new message without the field goes unseen", "todo matches it: {FIELD: None}")
        _run(database, operations, "up")
        _run(database, operations, "down")
        left = database.messages.count_documents({FIELD: {"$exists": True}})
        if left or [each for each in before if each not in list(database.messages.find())]:
            return not_yet("down does not give back what was there", "undo is a pipeline too: [{'$unset': 'length'}]")
    return right("up, up again and down, with a message of an old server in between")


@contextmanager
def _practice_database(uri: str) -> Iterator[Database]:
    database = runner.connect(uri, f"practice_{secrets.token_hex(4)}")
    try:
        runner.up(database, "0001")
        _insert(database, TEXTS)
        yield database
    finally:
        database.client.drop_database(database.name)
        database.client.close()


def _insert(database: Database, texts: Sequence[str]) -> None:
    database.messages.insert_many([{"text": text} for text in texts])


def _run(database: Database, operations: Sequence[Operation], direction: str) -> None:
    with lease.held(database) as held:
        for number, operation in enumerate(operations):
            getattr(operation, direction)(database, Work(held, f"{direction} {number}", limit=None))


def _wrong(database: Database) -> str:
    """A message whose length is wrong, in words, or nothing."""
    for each in database.messages.find():
        if each.get(FIELD) != len(each["text"]):
            return f"the {FIELD} of {each['text']!r} is {each.get(FIELD)}"
    return ""
