"""Measure what a migration costs the live requests beside it, and whether it loses messages.

The database is migrated, with its indexes, but holds messages that servers of the first version have left.
Rounds with and without `python -m migrations up 0002` at work, in turns, under the same mixed load; a round
ends the migration with SIGTERM, and the next goes on from its checkpoint. Then it runs to its end under load.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import options
from loadtests import service
from loadtests.ingest import Run
from loadtests.intervals import Ratio, paired_ratio
from loadtests.run import Load, RunError, run
from loadtests.summary import summarize

STOP_SECONDS = 30


@dataclass(frozen=True)
class MigrationImpact:
    """p99 of live requests (ms) in each pair of rounds; messages that should be there, and that are."""

    p99_alone: list[float]
    p99_migrating: list[float]
    failed: int
    seeded: int
    acknowledged: int
    found: int
    proved: bool
    finished_early: bool

    @property
    def ratio(self) -> Ratio:
        """p99 with the migration, as a multiple of that without."""
        return paired_ratio(self.p99_alone, self.p99_migrating)

    def __str__(self) -> str:
        early = "; the migration ended before the rounds did: use more messages" if self.finished_early else ""
        lost = max(0, self.seeded + self.acknowledged - self.found)
        return (
            f"p99 of live requests: {statistics.median(self.p99_alone):.1f} ms alone, "
            f"{statistics.median(self.p99_migrating):.1f} ms during the migration; {self.ratio} times{early}\n"
            f"{self.seeded:,} old and {self.acknowledged:,} acknowledged messages, {lost} lost, {self.failed} requests "
            f"failed; {'nothing' if self.proved else 'SOMETHING'} escaped the backfill"
        )


def measure(count: int, rounds: int, load: Load, folder: Path) -> MigrationImpact:
    """Seed `count` messages, run `rounds` pairs, let the migration finish. Raises `RunError`."""
    p99: dict[bool, list[float]] = {False: [], True: []}
    folders = []
    early = False
    with service.scratch_database("migration") as (uri, database):
        address = options.variables(uri, database)
        _migrations(address, "down", "0")
        _migrations(address, "seed", "--version", "5", "--stragglers", "--count", str(count))
        with service.running(mongodb_uri=uri, database=database) as server:
            for number in range(rounds):
                for migrating in (False, True) if number % 2 == 0 else (True, False):
                    name = f"{number + 1:02d} {'migrating' if migrating else 'alone'}"
                    with _up(address) if migrating else contextlib.nullcontext() as process:
                        folders.append(run(load, server.url, folder / name, title=name))
                        early |= process is not None and process.poll() is not None
                    p99[migrating].append(summarize(Run(folders[-1]))["p99_ms"])
            with _up(address, to_its_end=True):
                folders.append(run(load, server.url, folder / "to its end", title="to its end"))
        verified = json.loads(_migrations(address, "verify", "--json", may_fail=True))
    created_at = next(step for step in verified["steps"] if step["step"] == "0002_created_at")
    requests = [Run(each).requests for each in folders]
    return MigrationImpact(
        p99[False],
        p99[True],
        failed=sum(int((each["outcome"] == "failed").sum()) for each in requests),
        seeded=count,
        acknowledged=sum(
            int((each["name"].eq("POST /messages") & each["outcome"].eq("ok")).sum()) for each in requests
        ),
        found=verified["messages"],
        proved=not created_at["offenders"],
        finished_early=early,
    )


def speed(count: int, rounds: int) -> str:
    """What `python -m migrations bench` says of a backfill beside one bare `updateMany`."""
    with service.scratch_database("migration") as (uri, database):
        address = options.variables(uri, database)
        return _migrations(address, "bench", "--count", str(count), "--rounds", str(rounds)).strip()


def _migrations(address: Mapping[str, str], *words: str, may_fail: bool = False) -> str:
    """Run `python -m migrations` to its end, on the database that these variables name; returns what it prints."""
    ended = subprocess.run(
        [sys.executable, "-m", "migrations", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **address},
    )
    if ended.returncode != 0 and not (may_fail and ended.stdout):
        raise RunError(f"python -m migrations {words[0]}: {ended.stderr.strip().splitlines()[-1]}")
    return ended.stdout


@contextmanager
def _up(address: Mapping[str, str], to_its_end: bool = False) -> Iterator["subprocess.Popen[Any]"]:
    """The migration at work, at its default throttle, while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "migrations", "up", "0002"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **address},
    )
    try:
        yield process
        if not to_its_end:
            process.terminate()  # not SIGINT, which a process started in the background ignores
        process.wait(None if to_its_end else STOP_SECONDS)
    finally:
        process.kill()
        process.wait()
