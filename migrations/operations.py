"""What steps are made of. Each kind of change is described once, and can be counted, done, proved and undone.

A step lists its operations in the order in which live traffic stands them: first what only adds (an index),
then the backfill, and what refuses documents last. The runner proves each step before it calls it applied.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from pymongo.errors import CollectionInvalid, OperationFailure

from migrations.backfill import Work, walk
from migrations.database import Database, Document, MigrationError

SHOWN = 10
INDEX_NOT_FOUND, NAMESPACE_NOT_FOUND = 27, 26
DUPLICATE_KEY = 11000
INDEX_CONFLICTS = {85, 86}  # another index has this name, or these keys other options
VOID = {"void": True}


@dataclass(frozen=True)
class Found:
    """Documents, or what else is wrong: how many, what is the matter with them, and the ids of the first ones."""

    count: int
    what: str
    ids: tuple[Any, ...] = ()

    def __str__(self) -> str:
        listed = ", ".join(repr(id) if isinstance(id, str) else str(id) for id in self.ids)
        more = ", …" if self.count > len(self.ids) else ""
        return f"{self.count} {self.what}" + (f" (_id: {listed}{more})" if self.ids else "")


class Operation(Protocol):
    """One change of the data model. Looking (`touches`, `offenders`, `left`) never writes."""

    def touches(self, database: Database) -> int:
        """How many documents `up` has still to change."""

    def is_done(self, database: Database) -> bool:
        """Whether `up` has nothing to do."""

    def up(self, database: Database, work: Work) -> str:
        """Do it, or the rest of it; returns what was done, in words."""

    def down(self, database: Database, work: Work) -> str:
        """Undo it, or the rest of it; returns what was done, in words."""

    def offenders(self, database: Database) -> list[Found]:
        """What contradicts it; empty when it is proved."""

    def left(self, database: Database) -> list[Found]:
        """What it leaves as it is on purpose, and reports."""


def found(database: Database, collection: str, filter: Document, what: str) -> list[Found]:
    """What `filter` finds, as a list of one or of none."""
    count = database[collection].count_documents(filter)
    if count == 0:
        return []
    first = database[collection].find(filter, {"_id": True}, limit=SHOWN)
    return [Found(count, what, tuple(each["_id"] for each in first))]


class NothingToCount:
    """For operations that change no document."""

    def touches(self, database: Database) -> int:
        return 0

    def left(self, database: Database) -> list[Found]:
        return []


@dataclass(frozen=True)
class Collection(NothingToCount):
    """A collection that is there. Undoing leaves it: who would drop it would drop what is in it."""

    name: str

    def is_done(self, database: Database) -> bool:
        return self.name in database.list_collection_names()

    def up(self, database: Database, work: Work) -> str:
        if self.is_done(database):
            return f"{self.name} was there"
        work.lease.renew()
        with suppress(CollectionInvalid):  # made meanwhile by the service
            database.create_collection(self.name)
        return f"made {self.name}"

    def down(self, database: Database, work: Work) -> str:
        return f"left {self.name} with all that is in it"

    def offenders(self, database: Database) -> list[Found]:
        return [] if self.is_done(database) else [Found(1, f"collection is missing: {self.name}")]


@dataclass(frozen=True)
class Index(NothingToCount):
    """An index of `messages`. MongoDB builds it while others read and write."""

    name: str
    keys: list[tuple[str, int]]
    options: Document = field(default_factory=dict)

    def is_done(self, database: Database) -> bool:
        return self.name in database.messages.index_information()

    def up(self, database: Database, work: Work) -> str:
        if self.is_done(database):
            return f"index {self.name} was there"
        work.lease.renew()
        with _index_errors(self.name):
            database.messages.create_index(self.keys, name=self.name, **self.options)
        return f"made index {self.name}"

    def down(self, database: Database, work: Work) -> str:
        work.lease.renew()
        try:
            database.messages.drop_index(self.name)
        except OperationFailure as error:
            if error.code not in {INDEX_NOT_FOUND, NAMESPACE_NOT_FOUND}:
                raise
        return f"dropped index {self.name}"

    def offenders(self, database: Database) -> list[Found]:
        """It is missing, or is another one under the same name."""
        index = database.messages.index_information().get(self.name)
        if index is None:
            return [Found(1, f"index is missing: {self.name}")]
        wanted = {"key": self.keys, **self.options}
        same = all(index.get(name) == value for name, value in wanted.items())
        return [] if same else [Found(1, f"index is not as this step makes it: {self.name}; drop it, then run up")]


@dataclass(frozen=True)
class Backfill:
    """A change of the messages that `todo` finds, by `pipeline`, after which it does not find them any more.

    `undo_todo` and `undo` take it back in the same way, and only what `pipeline` would give again. `left`
    finds what the change cannot be made for.
    """

    what: str
    todo: Document
    pipeline: list[Document]
    undo_todo: Document
    undo: list[Document]
    exceptions: Document
    exceptions_are: str

    def touches(self, database: Database) -> int:
        return database.messages.count_documents(self.todo)

    def is_done(self, database: Database) -> bool:
        return database.messages.find_one(self.todo, {"_id": True}) is None

    def up(self, database: Database, work: Work) -> str:
        walk(database, "messages", self.todo, self.pipeline, work)
        return "; ".join([f"{work.done} messages got {self.what}", *map(str, self.left(database))])

    def down(self, database: Database, work: Work) -> str:
        walk(database, "messages", self.undo_todo, self.undo, work)
        return f"{work.done} messages lost {self.what}"

    def offenders(self, database: Database) -> list[Found]:
        return found(database, "messages", self.todo, f"messages without {self.what}")

    def left(self, database: Database) -> list[Found]:
        return found(database, "messages", self.exceptions, self.exceptions_are)


@dataclass(frozen=True)
class Validator(NothingToCount):
    """A `$jsonSchema` that MongoDB holds every write to `messages` to, from now on.

    It is the end of the older shapes: a server that still writes them gets errors. So it refuses to
    begin while there are documents of such a shape, and looks again when it is in force: what came in
    between is an offender too, and then the collection is left as it was.
    """

    schema: Document

    def is_done(self, database: Database) -> bool:
        collections = list(database.list_collections(filter={"name": "messages"}))
        return bool(collections) and collections[0]["options"].get("validator") == {"$jsonSchema": self.schema}

    def up(self, database: Database, work: Work) -> str:
        self._refuse_offenders(database)
        if self.is_done(database):
            return "the schema was in force"
        self._change(database, work, {"$jsonSchema": self.schema})
        try:
            self._refuse_offenders(database)
        except MigrationError:
            self._change(database, work, {})
            raise
        return "the schema is in force"

    def down(self, database: Database, work: Work) -> str:
        self._change(database, work, {})
        return "the schema is not in force any more"

    def offenders(self, database: Database) -> list[Found]:
        missing = [] if self.is_done(database) else [Found(1, "schema is not in force")]
        return self.unfit(database) + missing

    def unfit(self, database: Database) -> list[Found]:
        """The documents that the schema would refuse."""
        return found(
            database, "messages", {"$nor": [{"$jsonSchema": self.schema}]}, "documents that the schema refuses"
        )

    def _refuse_offenders(self, database: Database) -> None:
        if unfit := self.unfit(database):
            raise MigrationError(
                f"there are {unfit[0]}: correct or delete them (`python -m migrations verify` lists them), then run up"
            )

    def _change(self, database: Database, work: Work, validator: Document) -> None:
        work.lease.renew()
        database.command("collMod", "messages", validator=validator, validationLevel="strict", validationAction="error")


@contextmanager
def _index_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OperationFailure as error:
        details = error.details or {}
        if error.code == DUPLICATE_KEY:
            raise MigrationError(
                f"the index {name} is unique, and more than one message has {details.get('keyValue')}: "
                "keep one of them, then run up again"
            ) from error
        if error.code in INDEX_CONFLICTS:
            raise MigrationError(f"the index {name} cannot be made: {details.get('errmsg')}; drop the other") from error
        raise
