"""What the care costs: a backfill with its batches, checkpoints and fence, beside one bare `updateMany`."""

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
from migrations.steps import target


@dataclass(frozen=True)
class Speeds:
    """Documents per second of each round, by the backfill without a throttle and by one bare `updateMany`."""

    documents: int
    backfill: list[float]
    bare: list[float]

    @property
    def shares(self) -> list[float]:
        """Of each round, the backfill's speed as a share of the other's."""
        return [ours / theirs for ours, theirs in zip(self.backfill, self.bare, strict=True)]

    def __str__(self) -> str:
        return (
            f"backfill of {self.documents:,} documents: {statistics.median(self.backfill):,.0f} documents/s, "
            f"one bare updateMany {statistics.median(self.bare):,.0f}; share {statistics.median(self.shares):.2f} "
            f"(median of {len(self.shares)} rounds, from {min(self.shares):.2f} to {max(self.shares):.2f})"
        )


def backfill(place: Database, count: int, rounds: int, progress: Callable[[int, int], None]) -> Speeds:
    """Measure both on the same `count` messages, in turns (A B B A …), in a database beside `place`."""
    name = f"bench_{secrets.token_hex(4)}"
    database = place.client.get_database(name, write_concern=place.write_concern, read_concern=place.read_concern)
    fast = Options(limit=None)
    ways: dict[str, Callable[[Database], None]] = {
        "backfill": lambda database: _no_reports(runner.up(database, "0002", fast)),
        "bare": _bare,
    }
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    try:
        seed(database, 2, count, stragglers=True, options=fast)
        for number in range(rounds):
            for way in list(ways) if number % 2 == 0 else reversed(list(ways)):
                began = time.perf_counter()
                ways[way](database)
                speeds[way].append(count / (time.perf_counter() - began))
                database.messages.update_many({}, {"$unset": {"created_at": True}})
                progress(sum(map(len, speeds.values())), rounds * len(ways))
    finally:
        place.client.drop_database(name)
    return Speeds(count, speeds["backfill"], speeds["bare"])


def _bare(database: Database) -> None:
    (change,) = [each for each in target("0002").operations if isinstance(each, Backfill)]
    database.messages.update_many(change.todo, change.pipeline)


def _no_reports(reports: list[runner.Report]) -> None:
    assert reports
