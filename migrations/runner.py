"""Which steps a database has had, which it still needs, and how to apply them.

Applied steps are remembered in the collection `migrations`, a document `{_id: name, at, report}` each.
Looking never writes.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient, WriteConcern
from pymongo.database import Database as PyMongoDatabase
from pymongo.errors import PyMongoError

from migrations import versions

Document = dict[str, Any]
Database = PyMongoDatabase[Document]
# Called with how many documents are done, of how many.
Progress = Callable[[int, int], None]


class MigrationError(Exception):
    """The database cannot be migrated as asked. The text is one line that says what to do."""


@dataclass(frozen=True)
class Step:
    """One numbered script: `0002_created_at`."""

    name: str

    @property
    def title(self) -> str:
        """The first line of the script's docstring."""
        return (self._module.__doc__ or self.name).splitlines()[0]

    def up(self, database: Database, progress: Progress) -> str:
        """Run the script; returns its report, one line."""
        return str(self._module.up(database, progress))

    @property
    def _module(self) -> Any:
        return importlib.import_module(f"{versions.__name__}.{self.name}")


def connect(mongodb_uri: str, database: str) -> Database:
    """The database to migrate. Its writes are acknowledged by a majority, and journaled. Raises `MigrationError`."""
    try:
        client: MongoClient[Document] = MongoClient(
            mongodb_uri, serverSelectionTimeoutMS=5000, tz_aware=True, tzinfo=UTC, appname="backend-lab migrations"
        )
    except (PyMongoError, ValueError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise MigrationError(f"the address of MongoDB cannot be used ({reason}): correct --mongodb-uri") from error
    return client.get_database(database, write_concern=WriteConcern(w="majority", j=True))


def steps() -> list[Step]:
    """Every step there is, in order."""
    return [Step(name) for _, name, _ in sorted(pkgutil.iter_modules(versions.__path__), key=lambda each: each[1])]


def applied(database: Database) -> dict[str, Document]:
    """What is remembered of each applied step, by its name."""
    return {document["_id"]: document for document in database.migrations.find(sort=[("_id", 1)])}


def pending(database: Database) -> list[Step]:
    """The steps that `database` has not had, in order."""
    had = applied(database)
    return [step for step in steps() if step.name not in had]


def until(target: str | None, among: list[Step]) -> list[Step]:
    """The steps of `among` up to `target`, given by number or name. Raises `MigrationError`."""
    if target is None:
        return among
    known = [step.name for step in steps() if step.name == target or step.name.split("_")[0] == target.zfill(4)]
    if not known:
        names = ", ".join(step.name for step in steps())
        raise MigrationError(f"there is no step {target!r}: name one of {names}")
    return [step for step in among if step.name <= known[0]]


def apply(database: Database, step: Step, progress: Progress = lambda done, total: None) -> str:
    """Run `step` and remember it; returns its report. Interrupted, it can be run again."""
    report = step.up(database, progress)
    memory = {"at": datetime.now(UTC), "report": report}
    database.migrations.update_one({"_id": step.name}, {"$setOnInsert": memory}, upsert=True)
    return report
