"""Notebooks run any number of times, in any order, on a database that was used, is empty, or is not migrated."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtests import service
from migrations import runner
from notebooks import lab
from tests.notebooks import committed

# Each database is used by all that come after it: 03, 01, 03, …
ORDER = ("03", "01", "00", "02", "03", "02", "01", "00")
SHORT = ("01", "03", "00")


@contextmanager
def environment(mongodb_uri: str, database: str) -> Iterator[dict[str, str]]:
    with service.running(mongodb_uri=mongodb_uri, database=database) as server:
        yield {"LAB_MONGODB_URI": mongodb_uri, "LAB_DATABASE": database, "LAB_URL": server.url}


def failures(numbers: tuple[str, ...], folder: Path, where: dict[str, str]) -> list[tuple[str, str]]:
    """Which of the notebooks failed, when executed in this order, and why."""
    paths = {path.stem[:2]: path for path in committed.write(folder, *numbers)}
    executed = lab.execute([paths[number] for number in numbers], where)
    return [(each.name, each.failure) for each in executed if each.failure]


@pytest.mark.timeout(600)
def test_twice_and_in_any_order(mongodb_uri: str, db: runner.Database, tmp_path: Path) -> None:
    runner.up(db)
    with environment(mongodb_uri, db.name) as where:
        assert failures(ORDER, tmp_path, where) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [None, "0001", "0003", "0005"])
def test_at_any_step_of_the_migrations(mongodb_uri: str, db: runner.Database, tmp_path: Path, step: str | None) -> None:
    if step is not None:
        runner.up(db, step)
        if step < "0005":  # then messages without a number are allowed
            db.messages.insert_one({"text": "from before"})
    with environment(mongodb_uri, db.name) as where:
        assert failures(SHORT, tmp_path, where) == []
