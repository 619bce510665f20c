"""The command `python -m migrations`."""

import json
import subprocess

import pytest

from harness.ports import free_port
from migrations import runner
from migrations.runner import Database
from tests.commands import complaint, run

NAMES = [step.name for step in runner.steps()]


def migrations(verb: str, db: Database, uri: str, *more: str) -> subprocess.CompletedProcess[str]:
    return run("migrations", verb, "--mongodb-uri", uri, "--database", db.name, *more)


def everything_in(db: Database) -> tuple[list[str], object]:
    return sorted(db.list_collection_names()), db.command("dbHash")["collections"]


def test_status_lists_every_step_and_writes_nothing(mongodb_uri: str, db: Database) -> None:
    assert migrations("up", db, mongodb_uri, "0001").returncode == 0
    before = everything_in(db)
    lines = migrations("status", db, mongodb_uri).stdout.splitlines()
    assert everything_in(db) == before
    assert [line.split()[0] for line in lines] == NAMES
    assert ["pending" in line for line in lines] == [False] + [True] * (len(NAMES) - 1)


def test_status_does_not_create_a_database(mongodb_uri: str, db: Database) -> None:
    assert migrations("status", db, mongodb_uri).returncode == 0
    assert db.name not in db.client.list_database_names()


def test_status_as_json(mongodb_uri: str, db: Database) -> None:
    runner.up(db, "0001")
    rows = json.loads(migrations("status", db, mongodb_uri, "--json").stdout)
    assert [row["step"] for row in rows] == NAMES
    assert [row["applied_at"] is None for row in rows] == [False] + [True] * (len(NAMES) - 1)
    assert all(row["title"] for row in rows)


def test_up_applies_every_step_once(mongodb_uri: str, db: Database) -> None:
    db.messages.insert_one({"text": "hello"})
    first = migrations("up", db, mongodb_uri)
    assert first.returncode == 0
    assert [line.split(":")[0] for line in first.stdout.splitlines()] == NAMES
    assert runner.pending(db) == []

    before = everything_in(db)
    again = migrations("up", db, mongodb_uri)
    assert again.returncode == 0
    assert again.stdout == "nothing to do: every step is applied\n"
    assert everything_in(db) == before


def test_up_to_a_target_leaves_the_rest(mongodb_uri: str, db: Database) -> None:
    assert migrations("up", db, mongodb_uri, "0001").returncode == 0
    assert [step.name for step in runner.pending(db)] == NAMES[1:]
    again = migrations("up", db, mongodb_uri, "0001")
    assert again.stdout.startswith("nothing to do")
    assert "every step is applied" not in again.stdout


def test_up_as_json(mongodb_uri: str, db: Database) -> None:
    reports = json.loads(migrations("up", db, mongodb_uri, "--json").stdout)
    assert [each["step"] for each in reports] == NAMES
    assert all(each["report"] for each in reports)
    assert json.loads(migrations("up", db, mongodb_uri, "--json").stdout) == []


def test_down_reverts_the_last_step_and_then_those_after_a_target(mongodb_uri: str, db: Database) -> None:
    runner.up(db)
    assert migrations("down", db, mongodb_uri).stdout.startswith(f"{NAMES[-1]}: ")
    reports = json.loads(migrations("down", db, mongodb_uri, "0001", "--json").stdout)
    assert [each["step"] for each in reports] == NAMES[-2:0:-1]
    assert list(runner.applied(db)) == NAMES[:1]
    migrations("down", db, mongodb_uri)
    assert migrations("down", db, mongodb_uri).stdout == "nothing to undo\n"


def test_an_unknown_target_is_one_line(mongodb_uri: str, db: Database) -> None:
    assert "0001_collections" in complaint(migrations("up", db, mongodb_uri, "9999"), 1)
    assert runner.applied(db) == {}


@pytest.mark.parametrize("verb", ["status", "up"])
def test_a_mongodb_that_does_not_answer_is_one_line(verb: str, db: Database) -> None:
    address = f"127.0.0.1:{free_port()}"
    uri = f"mongodb://somebody:secret@{address}/?timeoutMS=300"
    line = complaint(migrations(verb, db, uri), 1)
    assert address in line
    assert "--mongodb-uri" in line
    assert "secret" not in line


@pytest.mark.parametrize("uri", ["mongodb://", "mongodb://host:port"])
def test_a_uri_that_cannot_be_read_is_one_line(uri: str, db: Database) -> None:
    assert "MongoDB" in complaint(migrations("status", db, uri), 1)


def test_wrong_usage_is_one_line() -> None:
    assert "sideways" in complaint(run("migrations", "sideways"), 2)
    assert "--database" in complaint(run("migrations", "status", "--database", "a b"), 2)
