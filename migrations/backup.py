"""Write a database to a file and make it anew from one: every byte of every document, indexes, options and validators.

`dump` reads all collections as they were at one moment, while others go on writing: a message that was acknowledged
before it began is in the file, and the counter of numbers is not behind the messages. `restore` believes a file only
after reading all of it, and a database only after counting it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from migrations import archive
from migrations.database import Database, Document, MigrationError

ATTEMPTS = 20
PAUSE_SECONDS = 0.25
SNAPSHOT_UNAVAILABLE, SNAPSHOT_TOO_OLD = 246, 239
BATCH_DOCUMENTS, BATCH_BYTES = 1000, 8_000_000
MANY = 100_000  # of collections or indexes: all of them in one answer
NAMESPACE_EXISTS, DUPLICATE_KEY = 48, 11000
# A collection that is there while a database is not yet restored.
UNFINISHED = "restore_unfinished"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Backup:
    """What was dumped or restored: how much, and in how many seconds; `size` is that of the file in bytes."""

    database: str
    file: str
    collections: int
    documents: int
    size: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.documents:,} documents in {self.collections} collections of {self.database}, "
            f"{self.size / 1e6:,.1f} MB, in {self.seconds:.1f} s"
        )


def dump(database: Database, path: Path, progress: Progress) -> Backup:
    """Write all of `database` to the file `path`, as it is at one moment. Raises `MigrationError`."""
    began = time.monotonic()
    try:
        collections = _retried(lambda: _dump(database, path, progress))
    except OperationFailure as error:
        if error.code != SNAPSHOT_TOO_OLD:
            raise
        raise MigrationError(
            "MongoDB has not kept the state of the moment at which the dump began for as long as that took: "
            "raise its parameter minSnapshotHistoryWindowInSeconds"
        ) from error
    return _report(database, path, collections, began)


def restore(database: Database, path: Path, progress: Progress, *, replace: bool = False) -> Backup:
    """Make the empty `database` what it was when the file `path` was written; with `replace`, drop what it holds.

    A damaged file changes nothing. Raises `MigrationError`.
    """
    began = time.monotonic()
    with archive.reading(path) as (file, metadata):
        if replace:
            database.client.drop_database(database.name)
        _refuse_unless_empty(database)
        collections = metadata["collections"]
        try:
            database[UNFINISHED].insert_one({"file": path.name})
            _restore(database, file, collections, progress)
            _verify(database, collections)
        except OperationFailure as error:
            if not _is_conflict(error):
                raise
            raise _disturbed(database, _reason(error)) from error
        database.drop_collection(UNFINISHED)
    return _report(database, path, collections, began)


def _report(database: Database, path: Path, collections: list[Document], began: float) -> Backup:
    documents = sum(each["documents"] for each in collections)
    seconds = time.monotonic() - began
    return Backup(database.name, str(path), len(collections), documents, path.stat().st_size, seconds)


# To a file.


def _retried(attempt: Callable[[], list[Document]]) -> list[Document]:
    """Try again while MongoDB has no such moment yet, because a collection or an index was made just now."""
    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except OperationFailure as error:
            if error.code != SNAPSHOT_UNAVAILABLE:
                raise
        time.sleep(PAUSE_SECONDS)
    return attempt()


def _dump(database: Database, path: Path, progress: Progress) -> list[Document]:
    begun_at, collections = datetime.now(UTC), _collections(database)
    total = sum(database[each["name"]].estimated_document_count() for each in collections if _has_documents(each))
    with archive.writing(path) as file, database.client.start_session(snapshot=True) as moment:
        done = 0
        for each in collections:
            if _has_documents(each):
                found = _counted(_documents(database, each["name"], moment), done, total, progress)
                each["documents"] = archive.add(file, each["name"], found)
                done += each["documents"]
        archive.add_metadata(file, {"database": database.name, "begun_at": begun_at, "collections": collections})
    return collections


def _collections(database: Database) -> list[Document]:
    """How to make each collection and view anew. Raises `MigrationError` if there is none, or one that is special."""
    collections = [
        {"name": each["name"], "type": each["type"], "options": each["options"], "indexes": [], "documents": 0}
        for each in _listed(database, "listCollections", 1)
        if not each["name"].startswith("system.")
    ]
    if not collections:
        raise MigrationError(f"there is nothing in the database {database.name}: correct --database")
    if any(each["name"] == UNFINISHED for each in collections):
        raise MigrationError(f"the database {database.name} is not restored yet: finish that first")
    for each in collections:
        # MongoDB reads neither of them as of a moment.
        kind = "capped" if each["options"].get("capped") else each["type"]
        if kind not in ("collection", "view"):
            raise MigrationError(f"{each['name']} is a {kind} collection: use mongodump for this database")
        if _has_documents(each):
            each["indexes"] = _indexes(database, each["name"])
    return sorted(collections, key=lambda each: (each["type"] == "view", each["name"]))


def _indexes(database: Database, name: str) -> list[Document]:
    """The indexes that do not come with the collection."""
    found = _listed(database, "listIndexes", name)
    return [each for each in found if each["name"] != "_id_" and not each.get("clustered")]


def _listed(database: Database, command: str, what: Any) -> list[Document]:
    """What a command lists. The driver's methods for it fail at a date that is out of the range of Python's."""
    answer = database.command({command: what, "cursor": {"batchSize": MANY}}, codec_options=archive.DECODED)
    return list(answer["cursor"]["firstBatch"])


def _has_documents(collection: Document) -> bool:
    return bool(collection["type"] == "collection")


def _documents(database: Database, name: str, moment: ClientSession) -> Iterator[RawBSONDocument]:
    # The session has a read concern, and that of the database would override it.
    found = database.get_collection(name, codec_options=archive.RAW, read_concern=ReadConcern())
    with found.find({}, session=moment) as cursor:
        yield from cursor


def _counted(
    documents: Iterator[RawBSONDocument], done: int, total: int, progress: Progress
) -> Iterator[RawBSONDocument]:
    """Pass `documents` on, and tell how many there were."""
    for count, document in enumerate(documents, done + 1):
        yield document
        if count % BATCH_DOCUMENTS == 0:
            progress("dump", count, max(total, count))


# From a file.


def _refuse_unless_empty(database: Database) -> None:
    names = [each for each in database.list_collection_names() if not each.startswith("system.")]
    if UNFINISHED in names:
        raise MigrationError(
            f"the database {database.name} holds a part of what an interrupted restore has written: "
            "restore it with --replace, which drops that first"
        )
    if names:
        raise MigrationError(
            f"the database {database.name} is not empty ({', '.join(sorted(names))}): name a new one with --database, "
            "or restore it with --replace, which first drops everything in it"
        )


def _restore(database: Database, file: ZipFile, collections: list[Document], progress: Progress) -> None:
    done, total = 0, sum(each["documents"] for each in collections)
    for each in collections:
        database.command("create", each["name"], **each["options"])
        if not _has_documents(each):
            continue
        target = database.get_collection(each["name"], codec_options=archive.RAW)
        for batch in _batches(archive.documents(file, each["name"])):
            # Documents from before a validator may contradict it.
            target.insert_many(batch, bypass_document_validation=True)
            done += len(batch)
            progress("restore", done, total)
        # An index that was listed without a collation has none, whatever its collection has.
        if indexes := [{"collation": {"locale": "simple"}, **index} for index in each["indexes"]]:
            database.command("createIndexes", each["name"], indexes=indexes)


def _batches(documents: Iterator[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    """Batches that are neither long nor large: a document may have 16 MB."""
    batch, size = [], 0
    for document in documents:
        batch.append(document)
        size += len(document.raw)
        if len(batch) == BATCH_DOCUMENTS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _verify(database: Database, collections: list[Document]) -> None:
    """Raise `MigrationError` unless each collection has as many documents as the file."""
    for each in collections:
        if _has_documents(each) and (found := database[each["name"]].count_documents({})) != each["documents"]:
            raise _disturbed(database, f"{each['name']} has {found:,} documents, and the file {each['documents']:,}")


def _is_conflict(error: OperationFailure) -> bool:
    """Whether something is there already that is to be made."""
    codes = {error.code, *(each.get("code") for each in (error.details or {}).get("writeErrors", []))}
    return not codes.isdisjoint({NAMESPACE_EXISTS, DUPLICATE_KEY})


def _reason(error: OperationFailure) -> str:
    details = error.details or {}
    return str(next(iter(details.get("writeErrors", [])), details).get("errmsg", error))


def _disturbed(database: Database, what: str) -> MigrationError:
    return MigrationError(
        f"somebody else uses the database {database.name} ({what}): stop the services, and restore it with --replace"
    )
