"""The runner: which steps it applies, in which order, and what it records."""

import pytest

from migrations import runner
from migrations.runner import Database, MigrationError

NAMES = [step.name for step in runner.steps()]


def test_steps_are_numbered_without_gaps() -> None:
    assert [int(name.split("_")[0]) for name in NAMES] == list(range(1, len(NAMES) + 1))


def test_every_step_has_a_title() -> None:
    for step in runner.steps():
        assert step.title.endswith(".")


def test_a_new_database_needs_every_step(db: Database) -> None:
    assert runner.applied(db) == {}
    assert runner.pending(db) == runner.steps()


def test_pending_writes_nothing(db: Database) -> None:
    runner.pending(db)
    assert db.name not in db.client.list_database_names()


def test_an_applied_step_is_recorded_with_its_time_report_and_checksum(db: Database) -> None:
    first, *rest = runner.steps()
    (report,) = runner.up(db, first.name)
    records = runner.applied(db)
    assert list(records) == [first.name]
    assert records[first.name]["report"] == report.report
    assert records[first.name]["at"].tzinfo is not None
    assert records[first.name]["checksum"] == first.checksum
    assert runner.pending(db) == rest


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (None, NAMES),
        ("0001", NAMES[:1]),
        ("1", NAMES[:1]),
        ("0001_collections", NAMES[:1]),
        ("2", NAMES[:2]),
        ("0002", NAMES[:2]),
    ],
)
def test_a_target_is_a_number_or_a_name(db: Database, target: str | None, names: list[str]) -> None:
    assert [each.step for each in runner.plan(db, target)] == names


@pytest.mark.parametrize("target", ["9999", "0000", "", "collections", "0001_", "-1"])
def test_an_unknown_target_is_refused_with_the_known_ones(db: Database, target: str) -> None:
    with pytest.raises(MigrationError) as refusal:
        runner.up(db, target)
    assert all(name in str(refusal.value) for name in NAMES)


def test_0001_creates_missing_collections_and_accepts_existing_ones(db: Database) -> None:
    db.messages.insert_one({"text": "older than any migration"})
    runner.up(db, "0001")
    assert {"messages", "visits"} <= set(db.list_collection_names())
    assert db.messages.count_documents({}) == 1
