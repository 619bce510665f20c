"""The operations of which migrations consist: each can count, apply, verify and revert its change.

A step lists its operations in the order that is safe under live traffic: additions first (an index), then backfills,
and restrictions (a validator) last. The runner verifies a step before it records it as applied.

The scripts in `versions/` use the names of this module and of `migrations.backfill`, and they are checksummed history:
names that they use cannot be changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from pymongo.errors import CollectionInvalid, OperationFailure

from migrations.backfill import Work, walk
from migrations.database import Database, Document, MigrationError

MAX_IDS = 10
INDEX_NOT_FOUND, NAMESPACE_NOT_FOUND = 27, 26
DUPLICATE_KEY = 11000
INDEX_CONFLICTS = {85, 86}  # another index has this name, or an index with these keys has other options
VOID = {"void": True}


@dataclass(frozen=True)
class Found:
    """A group of documents, or another condition, to report: a count, a description, and the first few ids."""

    count: int
    what: str
    ids: tuple[Any, ...] = ()

    def __str__(self) -> str:
        listed = ", ".join(repr(id) if isinstance(id, str) else str(id) for id in self.ids)
        more = ", …" if self.count > len(self.ids) else ""
        return f"{self.count} {self.what}" + (f" (_id: {listed}{more})" if self.ids else "")


class Operation(Protocol):
    """One change of the data model. Only `up` and `down` write."""

    def touches(self, database: Database) -> int:
        """The number of documents that `up` still has to change."""

    def is_done(self, database: Database) -> bool:
        """Whether `up` has nothing to do."""

    def up(self, database: Database, work: Work) -> str:
        """Apply the change, or what is missing of it; return a description of what was done."""

    def down(self, database: Database, work: Work) -> str:
        """Revert the change, or what remains of it; return a description of what was done."""

    def offenders(self, database: Database) -> list[Found]:
        """The documents and conditions that contradict the change; empty once it is applied completely."""

    def left(self, database: Database) -> list[Found]:
        """Exceptions: the documents that the change leaves unchanged on purpose, and reports."""


def found(database: Database, collection: str, filter: Document, what: str) -> list[Found]:
    """The documents that match `filter`, as a list of one `Found`; an empty list if there are none."""
    count = database[collection].count_documents(filter)
    if count == 0:
        return []
    first = database[collection].find(filter, {"_id": True}, limit=MAX_IDS)
    return [Found(count, what, tuple(each["_id"] for each in first))]


class ChangesNoDocuments:
    """Base class of operations that change no documents."""

    def touches(self, database: Database) -> int:
        return 0

    def left(self, database: Database) -> list[Found]:
        return []


@dataclass(frozen=True)
class Collection(ChangesNoDocuments):
    """Creates a collection. `down` does not drop it, since `up` could not restore its documents."""

    name: str

    def is_done(self, database: Database) -> bool:
        return self.name in database.list_collection_names()

    def up(self, database: Database, work: Work) -> str:
        if self.is_done(database):
            return f"{self.name} was there"
        work.lease.renew()
        with suppress(CollectionInvalid):  # the service has created it meanwhile
            database.create_collection(self.name)
        return f"made {self.name}"

    def down(self, database: Database, work: Work) -> str:
        return f"left {self.name} with all that is in it"

    def offenders(self, database: Database) -> list[Found]:
        return [] if self.is_done(database) else [Found(1, f"collection is missing: {self.name}")]


@dataclass(frozen=True)
class Index(ChangesNoDocuments):
    """Creates an index of `messages`. MongoDB builds it while others read and write."""

    name: str
    keys: list[tuple[str, int]]
    options: Document = field(default_factory=dict)

    def is_done(self, database: Database) -> bool:
        return self.name in database.messages.index_information()

    def up(self, database: Database, work: Work) -> str:
        if self.is_done(database):
            return f"index {self.name} was there"
        work.lease.renew()
        with self._errors_explained():
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
        """The index is missing, or another index has its name."""
        index = database.messages.index_information().get(self.name)
        if index is None:
            return [Found(1, f"index is missing: {self.name}")]
        wanted = {"key": self.keys, **self.options}
        same = all(index.get(name) == value for name, value in wanted.items())
        return [] if same else [Found(1, f"index is not as this step makes it: {self.name}; drop it, then run up")]

    def duplicate(self, value: Any) -> str:
        """The error that more than one message has a value, such as `{"dedupe": "key:1"}`, of this unique index."""
        return (
            f"the index {self.name} is unique, and more than one message has {value}: "
            "delete or change all but one of them, then run up again"
        )

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except OperationFailure as error:
            details = error.details or {}
            if error.code == DUPLICATE_KEY:
                raise MigrationError(self.duplicate(details.get("keyValue"))) from error
            if error.code in INDEX_CONFLICTS:
                raise MigrationError(
                    f"the index {self.name} cannot be created: {details.get('errmsg')}; drop the other index"
                ) from error
            raise


@dataclass(frozen=True)
class Backfill:
    """Updates the messages that match `todo` with an aggregation `pipeline`; `what` describes what they get.

    After the update a message must not match `todo`. `undo_todo` and `undo` revert the update in the same way, only as
    far as `pipeline` would restore it. `exceptions` matches the messages that cannot be updated; `exceptions_are`
    describes them.
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
class Validator(ChangesNoDocuments):
    """Sets a `$jsonSchema` validator on `messages`: MongoDB then rejects every write that does not conform.

    From then on, servers that write documents of an older shape get errors. So `up` refuses to begin while there are
    documents that do not conform, and checks again once the validator is set: if such documents were written in
    between, it removes the validator and fails.
    """

    schema: Document

    def is_done(self, database: Database) -> bool:
        collections = list(database.list_collections(filter={"name": "messages"}))
        return bool(collections) and collections[0]["options"].get("validator") == {"$jsonSchema": self.schema}

    def up(self, database: Database, work: Work) -> str:
        self._require_conforming(database)
        if self.is_done(database):
            return "the schema was in force"
        self._change(database, work, {"$jsonSchema": self.schema})
        try:
            self._require_conforming(database)
        except MigrationError:
            self._change(database, work, {})
            raise
        return "the schema is in force"

    def down(self, database: Database, work: Work) -> str:
        self._change(database, work, {})
        return "the schema is not in force any more"

    def offenders(self, database: Database) -> list[Found]:
        missing = [] if self.is_done(database) else [Found(1, "schema is not in force")]
        return self.nonconforming(database) + missing

    def nonconforming(self, database: Database) -> list[Found]:
        """The documents that do not conform to the schema."""
        return found(
            database, "messages", {"$nor": [{"$jsonSchema": self.schema}]}, "documents that the schema refuses"
        )

    def _require_conforming(self, database: Database) -> None:
        if nonconforming := self.nonconforming(database):
            raise MigrationError(
                f"there are {nonconforming[0]}: correct or delete them (`python -m migrations verify` lists them), "
                "then run up"
            )

    def _change(self, database: Database, work: Work, validator: Document) -> None:
        work.lease.renew()
        database.command("collMod", "messages", validator=validator, validationLevel="strict", validationAction="error")
