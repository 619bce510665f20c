"""A backup: written while others write, refused if it is damaged, and restored as it was, byte for byte."""

import json
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import bson
import pytest
from bson import SON, Binary, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure, WriteError

from client import MessageClient
from harness.threads import meanwhile
from loadtests import service
from migrations import archive, backup, runner
from migrations.database import MigrationError
from migrations.runner import Database
from tests.commands import complaint, run
from tests.conftest import StartServer, _new_database
from tests.migrations.databases import ODD, old_messages
from tests.waiting import eventually

EXACT = archive.RAW
STRANGE: list[dict[str, Any]] = [
    {"_id": ObjectId(), "n": [1, Int64(1), 1.0, Decimal128("1.10"), Int64(2**62), float("nan"), -0.0]},
    {"_id": Int64(7), "at": [datetime(2026, 1, 1, tzinfo=UTC), DatetimeMS(2**60), DatetimeMS(-(2**60))]},
    {"_id": Decimal128("7.10"), "x": Binary(b"\0\1", 5), "y": Regex("^a", "i"), "t": Timestamp(1, 2)},
    {"_id": SON([("b", 1), ("a", MinKey())]), "z": MaxKey(), "ref": DBRef("messages", 1), "": {"$odd.name": None}},
]
# A document with two fields of one name, which no dictionary can hold.
TWICE = RawBSONDocument(bson.encode({"_id": 8, "aa": 1, "bb": 2}).replace(b"bb", b"aa"))


@pytest.fixture
def other(mongodb_uri: str, db: Database) -> Iterator[Database]:
    """A second database, to restore to."""
    with _new_database(mongodb_uri) as name:
        found = runner.connect(mongodb_uri, name)
        yield found
        found.client.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "monday.backup"


def quiet(step: str, done: int, total: int) -> None: ...


def dump(db: Database, file: Path) -> backup.Backup:
    return backup.dump(db, file, quiet)


def restore(db: Database, file: Path, replace: bool = False) -> backup.Backup:
    return backup.restore(db, file, quiet, replace=replace)


def raw(db: Database, name: str) -> list[bytes]:
    return [each.raw for each in db.get_collection(name, codec_options=EXACT).find(sort=[("_id", 1)])]


def made_of(db: Database) -> dict[str, Any]:
    """The options and indexes of each collection."""
    return {
        each["name"]: (
            each["type"],
            each["options"],
            sorted(map(str, backup._indexes(db, each["name"]))) if each["type"] == "collection" else [],
        )
        for each in backup._listed(db, "listCollections", 1)
        if not each["name"].startswith("system.")
    }


# What is in it.


def test_every_document_comes_back_byte_for_byte(db: Database, other: Database, file: Path) -> None:
    db.messages.insert_many([*old_messages(2500), *ODD])
    db.strange.insert_many([*STRANGE])
    db.get_collection("strange", codec_options=EXACT).insert_one(TWICE)
    written = dump(db, file)
    restored = restore(other, file)
    assert written.documents == restored.documents == 2500 + len(ODD) + len(STRANGE) + 1
    assert (written.collections, written.size) == (2, file.stat().st_size)
    for name in ("messages", "strange"):
        assert raw(other, name) == raw(db, name)
    assert other.command("dbHash")["collections"] == db.command("dbHash")["collections"]


def test_a_document_of_the_largest_size_comes_back(db: Database, other: Database, file: Path) -> None:
    empty = len(bson.encode({"_id": 1, "text": ""}))
    db.messages.insert_one({"_id": 1, "text": "x" * (16 * 1024 * 1024 - empty)})
    dump(db, file)
    restore(other, file)
    assert raw(other, "messages") == raw(db, "messages")


def test_indexes_options_validator_and_views_come_back(db: Database, other: Database, file: Path) -> None:
    runner.up(db)
    collation = {"locale": "de", "strength": 2}
    db.create_collection(
        "words", collation=collation, validator={"n": {"$lt": DatetimeMS(2**60)}}, validationAction="warn"
    )
    db.words.create_index(
        [("n", 1), ("text", -1)],
        name="some",
        unique=True,
        partialFilterExpression={"n": {"$gt": Int64(3)}, "at": {"$lt": DatetimeMS(2**60)}},
    )
    db.words.create_index([("text", "text")], default_language="german", collation={"locale": "simple"})
    db.words.create_index("at", expireAfterSeconds=3600)
    db.create_collection("texts", viewOn="messages", pipeline=[{"$match": {"text": {"$regex": "^a", "$options": "i"}}}])
    dump(db, file)
    restore(other, file)
    expected, found = made_of(db), made_of(other)
    assert found == expected
    assert {"messages", "migrations"} <= set(found)
    assert runner.status(other) == runner.status(db)
    with pytest.raises(WriteError, match="failed validation"):
        other.messages.insert_one({"text": 7})


def test_documents_from_before_a_validator_come_back(db: Database, other: Database, file: Path) -> None:
    db.messages.insert_one({"_id": 1, "text": 7})
    db.command("collMod", "messages", validator={"text": {"$type": "string"}}, validationLevel="moderate")
    dump(db, file)
    restore(other, file)
    assert other.messages.find_one() == {"_id": 1, "text": 7}


def test_a_service_goes_on_with_what_was_restored(
    start_server: StartServer, migrated: Database, other: Database, mongodb_uri: str, file: Path
) -> None:
    with MessageClient(start_server().url) as client:
        question = client.send("lunch?", author="mia", key="the first")
        answer = client.reply(question.id, "the usual place", author="joe")
        dump(migrated, file)
        client.send("after the backup")
    restore(other, file)
    with (
        service.running(mongodb_uri=mongodb_uri, database=other.name) as server,
        MessageClient(server.url) as client,
    ):
        assert client.recent(10) == [answer, question]
        assert client.send("lunch?", author="mia", key="the first") == question  # it knows the key
        assert list(client.replies(question.id)) == [answer]
        assert client.send("goes on").seq > answer.seq
        assert [each.text for each in client.recent(10)] == ["goes on", answer.text, question.text]


def test_a_backup_is_of_one_moment_while_others_write(
    start_server: StartServer, migrated: Database, other: Database, file: Path
) -> None:
    server, acknowledged = start_server(), []

    def write(ended: threading.Event) -> None:
        with MessageClient(server.url) as client:
            while not ended.is_set():
                acknowledged.append(client.send("while it is written").seq)

    with meanwhile(write), meanwhile(write), meanwhile(write):
        for number in range(3):
            written, enough = file.with_name(f"{number}"), len(acknowledged) + 200
            eventually(lambda enough=enough: len(acknowledged) > enough)
            before = set(acknowledged)
            dump(migrated, written)
            now = len(acknowledged)
            eventually(lambda now=now: len(acknowledged) > now)  # they did go on
            restore(other, written, replace=True)
            numbers = {each["seq"] for each in other.messages.find()}
            assert before <= numbers
            assert numbers == set(range(1, len(numbers) + 1))
            counter = other.counters.find_one()
            assert counter is not None
            assert counter["seq"] >= max(numbers)
    assert len(set(acknowledged)) == len(acknowledged)


def test_a_collection_that_was_made_a_moment_ago_is_in_it(db: Database, other: Database, file: Path) -> None:
    for number in range(10):
        db[f"made_{number}"].insert_one({"_id": number})
        db[f"made_{number}"].create_index("x")
        dump(db, file)
        with archive.reading(file) as (_, metadata):
            assert {f"made_{each}" for each in range(number + 1)} == {each["name"] for each in metadata["collections"]}
            assert all(each["documents"] == 1 for each in metadata["collections"])


# Files.


def test_only_its_owner_can_read_it(db: Database, file: Path) -> None:
    db.messages.insert_many(old_messages(3))
    file.touch(0o644)
    dump(db, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_dump_that_fails_leaves_the_last_one_and_no_other_file(
    db: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messages.insert_many(old_messages(3))
    dump(db, file)
    first = file.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "add_metadata", fail)
    with pytest.raises(MigrationError, match="No space left on device; make room"):
        dump(db, file)
    assert file.read_bytes() == first
    assert list(file.parent.iterdir()) == [file]


def test_a_damaged_file_changes_nothing(db: Database, other: Database, file: Path, tmp_path: Path) -> None:
    db.messages.insert_many(old_messages(50))
    db.counters.insert_one({"_id": "seq", "value": 50})
    dump(db, file)
    whole, bad = file.read_bytes(), tmp_path / "bad"
    cut = [whole[:length] for length in range(0, len(whole), 97)]
    with ZipFile(file) as written:
        member = written.getinfo("collections/messages.bson")
    documents = range(member.header_offset + 100, member.header_offset + member.compress_size, 53)
    flipped = [whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :] for at in documents]
    assert flipped
    other.messages.insert_one({"_id": 1})
    for damaged in [*cut, *flipped]:
        bad.write_bytes(damaged)
        with pytest.raises(MigrationError, match=f"{bad} is no backup, or is damaged"):
            restore(other, bad, replace=True)
    assert other.list_collection_names() == ["messages"]
    assert other.messages.find_one() == {"_id": 1}


@pytest.mark.parametrize("change", [{"format": 2}, {"documents": 49}])
def test_a_file_that_says_something_else_is_refused(
    db: Database, other: Database, file: Path, change: dict[str, int]
) -> None:
    db.messages.insert_many(old_messages(50))
    dump(db, file)
    with ZipFile(file) as written:
        metadata = bson.decode(written.read(archive.METADATA))
        documents = written.read("collections/messages.bson")
    metadata |= {name: value for name, value in change.items() if name in metadata}
    metadata["collections"][0] |= {name: value for name, value in change.items() if name not in metadata}
    with ZipFile(file, "w") as changed:
        changed.writestr("collections/messages.bson", documents)
        changed.writestr(archive.METADATA, bson.encode(metadata))
    with pytest.raises(MigrationError, match=r"its format is 2|50 of 49 documents"):
        restore(other, file)


# Databases.


def test_a_database_that_is_not_empty_is_refused_unless_told(db: Database, other: Database, file: Path) -> None:
    db.messages.insert_many(old_messages(3))
    dump(db, file)
    other.visits.insert_one({"_id": 1})
    with pytest.raises(MigrationError, match=r"is not empty \(visits\): .*--database, .*--replace"):
        restore(other, file)
    assert other.list_collection_names() == ["visits"]
    restore(other, file, replace=True)
    assert other.list_collection_names() == ["messages"]


def test_an_interrupted_restore_is_not_taken_for_a_database(
    db: Database, other: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messages.insert_many(old_messages(3000))
    dump(db, file)

    def interrupt(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.restore(other, file, interrupt)
    with pytest.raises(MigrationError, match="interrupted restore"):
        restore(other, file)
    restore(other, file, replace=True)
    assert raw(other, "messages") == raw(db, "messages")


@pytest.mark.parametrize(
    ("write", "what"),
    [
        pytest.param(
            lambda db: db.messages.insert_one({}), r"messages has \d documents, and the file 3", id="a message"
        ),
        pytest.param(lambda db: db.visits.insert_one({}), r"test_\w+\.visits", id="a collection"),
    ],
)
def test_what_others_write_into_it_meanwhile_is_noticed(
    db: Database, other: Database, file: Path, write: Callable[[Database], object], what: str
) -> None:
    db.messages.insert_many(old_messages(3))
    db.visits.insert_one({"_id": 1})
    dump(db, file)
    with pytest.raises(MigrationError, match=f"somebody else uses the database .*{what}.*: stop .* --replace"):
        backup.restore(other, file, lambda *_: write(other))
    with pytest.raises(MigrationError, match="is not restored yet"):
        dump(other, file)


def test_what_cannot_be_dumped_is_said(db: Database, file: Path, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="there is nothing in the database"):
        dump(db, file)
    db.messages.insert_one({})
    with pytest.raises(MigrationError, match="no file can be written"):
        dump(db, tmp_path / "nowhere" / "file")
    for kind, options in (
        ("timeseries", {"timeseries": {"timeField": "at"}}),
        ("capped", {"capped": True, "size": 4096}),
    ):
        db.create_collection(kind, **options)
        with pytest.raises(MigrationError, match=f"{kind} is a {kind} collection: use mongodump"):
            dump(db, file)
        db.drop_collection(kind)


def test_a_moment_that_is_too_long_ago_says_what_to_do(
    db: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messages.insert_one({})

    def fail(*_: object) -> None:
        raise OperationFailure("too old", backup.SNAPSHOT_TOO_OLD)

    monkeypatch.setattr(backup, "_dump", fail)
    with pytest.raises(MigrationError, match="minSnapshotHistoryWindowInSeconds"):
        dump(db, file)


# The command.


def test_the_command_on_an_embedded_database(data_dir: Path, tmp_path: Path, file: Path) -> None:
    """One that does not run, to another that was not there."""
    old, new = ["--data-dir", data_dir], ["--data-dir", tmp_path / "new"]
    assert run("migrations", "seed", "--version", "6", "--count", "1500", *old).returncode == 0
    written = run("migrations", "dump", file, *old)
    assert written.stdout.startswith(f"{file}: "), written.stderr
    assert "documents in" in written.stdout
    report = json.loads(run("migrations", "restore", file, "--json", *new).stdout)
    assert report["documents"] >= 1500
    assert report["seconds"] > 0
    assert json.loads(run("migrations", "verify", "--json", *new).stdout)["messages"] == 1500
    assert "--replace" in complaint(run("migrations", "restore", file, *new), 1)


def test_the_command_names_a_file_that_it_cannot_read(mongodb_uri: str, db: Database, tmp_path: Path) -> None:
    words = ["--mongodb-uri", mongodb_uri, "--database", db.name]
    assert "No such file" in complaint(run("migrations", "restore", tmp_path / "nothing", *words), 1)
