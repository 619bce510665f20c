"""Benchmark: a backfill with batches, checkpoints and a fenced lease, compared with a single `updateMany`."""

import secrets
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from migrations import runner
from migrations.database import Database
from migrations.operations import Backfill
from migrations.runner import Options
from migrations.seed import seed
from migrations.steps import step_named


@dataclass(frozen=True)
class Speeds:
    """Documents per second in each round: by the backfill without throttling, and by a single `updateMany`."""

    documents: int
    backfill: list[float]
    bare: list[float]

    @property
    def shares(self) -> list[float]:
        """The speed of the backfill divided by that of the single `updateMany`, for each round."""
        return [backfill / bare for backfill, bare in zip(self.backfill, self.bare, strict=True)]

    def __str__(self) -> str:
        return (
            f"backfill of {self.documents:,} documents: {statistics.median(self.backfill):,.0f} documents/s, "
            f"one bare updateMany {statistics.median(self.bare):,.0f}; share {statistics.median(self.shares):.2f} "
            f"(median of {len(self.shares)} rounds, from {min(self.shares):.2f} to {max(self.shares):.2f})"
        )


def backfill(beside: Database, count: int, rounds: int, progress: Callable[[int, int], None]) -> Speeds:
    """Measure both alternately (A B B A …) on `count` messages in a new database, on the MongoDB of `beside`.

    The database is dropped afterwards. `progress` is called with the runs done and their total.
    """
    name = f"bench_{secrets.token_hex(4)}"
    database = beside.client.get_database(name, write_concern=beside.write_concern, read_concern=beside.read_concern)
    unthrottled = Options(limit=None)
    variants: dict[str, Callable[[Database], None]] = {
        "backfill": lambda database: _expect_work(runner.up(database, "0002", unthrottled)),
        "bare": _bare,
    }
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    try:
        seed(database, 2, count, stragglers=True, options=unthrottled)
        for number in range(rounds):
            for variant in list(variants) if number % 2 == 0 else reversed(list(variants)):
                began = time.perf_counter()
                variants[variant](database)
                speeds[variant].append(count / (time.perf_counter() - began))
                database.messages.update_many({}, {"$unset": {"created_at": True}})
                progress(sum(map(len, speeds.values())), rounds * len(variants))
    finally:
        beside.client.drop_database(name)
    return Speeds(count, speeds["backfill"], speeds["bare"])


def _bare(database: Database) -> None:
    (change,) = [each for each in step_named("0002").operations if isinstance(each, Backfill)]
    database.messages.update_many(change.todo, change.pipeline)


def _expect_work(reports: list[runner.Report]) -> None:
    assert reports
