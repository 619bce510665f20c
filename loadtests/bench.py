"""Measure the rows of `make bench`: both sides of each in one run, in interleaved rounds (A B, B A, …).

<folder>/samples.csv   row, round, side, began (s, Unix), metric, value: a line for each number
<folder>/run.json      rounds, seconds (of which a row takes so many `times`), cores, commit, versions, machine, and
                       each row with its goals and result
<folder>/table.txt     the table as printed
<folder>/logs/         what the servers said

Each row has a new MongoDB, unless LAB_MONGODB_URI names one: it must not matter which rows were measured before it.

The servers share one core with their database, and the load generator has another to itself: so both
sides get the same, whether their database is a process of its own (MongoDB) or not (SQLite), and no
server can slow down the meter.
"""

import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import clock, machine, progress
from harness.options import MongodbOptions, from_environment
from harness.processes import ProgramError
from harness.progress import Bar
from loadtests import wrk
from loadtests.bench_loads import Sample
from loadtests.bench_servers import Workspace
from loadtests.intervals import ENOUGH_PAIRS, Ratio, paired_ratio
from loadtests.rows import Goal, Row, Side

ROUNDS = ENOUGH_PAIRS
SECONDS = 3
WARMUP_SECONDS = 1
PEER_PACKAGES = ("fastapi", "starlette", "uvicorn", "granian", "httptools", "uvloop", "flask", "gunicorn")


# The sides of a round in their turn: when each began (Unix seconds), and what it measured.
Pair = list[tuple[Side, float, Sample]]
# With more rounds in which the load generator could not keep up, this is not the machine to measure on.
MOST_REPEATED = 3


@dataclass
class Result:
    """What was measured of one row: for each round the sample of both sides, and why it is void, if it is."""

    row: Row
    base: list[Sample] = field(default_factory=list)
    ours: list[Sample] = field(default_factory=list)
    void: str = ""
    repeated: int = 0

    def values(self, goal: Goal) -> tuple[list[float], list[float]]:
        """A goal's metric in each round: what it is compared with, and ours."""
        ours = [sample.values[goal.metric] for sample in self.ours]
        if goal.against is not None:
            return [goal.against] * len(ours), ours
        return [sample.values[goal.metric] for sample in self.base], ours

    def add(self, number: int, pair: Pair) -> None:
        """Take in round `number`, or say why the row is void, or that the round has to be repeated."""
        for side, _, sample in pair:
            if sample.void and not self.void:
                self.void = f"{side.name}, round {number}: {sample.void}"
        late = next((sample.late for _, _, sample in pair if sample.late), "")
        if late:
            self.repeated += 1
            if self.repeated > MOST_REPEATED and not self.void:
                self.void = f"{self.repeated} rounds were to be repeated, the last because {late}"
        else:
            for side, _, sample in pair:
                (self.base if side is self.row.base else self.ours).append(sample)

    def ratio(self, goal: Goal) -> Ratio:
        """How many times the other side's metric ours is; with one round, without an interval (nan)."""
        base, ours = self.values(goal)
        if len(ours) == 1:
            nan = float("nan")
            return Ratio(ours[0] / base[0], nan, nan, pairs=1, visible=nan)
        return paired_ratio(base, ours)


def measure(rows: Sequence[Row], folder: Path, rounds: int = ROUNDS, seconds: int = SECONDS) -> list[Result]:
    """Measure `rows` one after the other, `rounds` times `seconds` for each side, and keep everything in `folder`.

    Raises `WrkError` without wrk and `MongodError` without a database, before anything is started. A row
    that cannot be measured is void; the others are.
    """
    wrk.program()
    (folder / "logs").mkdir(parents=True)
    cores, results = _cores(), []
    mongodb = from_environment()
    total = sum(2 if row.once else 2 * rounds for row in rows)
    with (
        (folder / "samples.csv").open("w", newline="") as file,
        _on(cores["servers"] if cores else None),
        progress.bar("the bench", total, unit=" loads") as bar,
    ):
        keep = csv.writer(file)
        keep.writerow(["row", "round", "side", "began", "metric", "value"])
        for row in rows:
            result = Result(row)
            results.append(result)
            bar.set_description(f"{row.name}: starting the database")
            with _workspace(folder, mongodb) as workspace:
                try:
                    # Closed at once where a void sample ends the row: its servers must not outlive it.
                    with closing(_samples(row, workspace, rounds, seconds, cores, bar)) as samples:
                        for number, pair in samples:
                            for side, began, sample in pair:
                                keep.writerows(
                                    [row.name, number, side.name, f"{began:.3f}", name, f"{value:.6g}"]
                                    for name, value in sample.values.items()
                                )
                            file.flush()
                            result.add(number, pair)
                            if result.void:
                                break
                except (wrk.WrkError, ProgramError) as error:
                    result.void = str(error)
    (folder / "table.txt").write_text(table(results) + "\n")
    about = {"rounds": rounds, "seconds": seconds, "cores": cores, "given_mongodb": mongodb.mongodb_uri is not None}
    (folder / "run.json").write_text(json.dumps(about | _record(results), indent=2) + "\n")
    return results


@contextmanager
def _workspace(folder: Path, mongodb: MongodbOptions) -> Iterator[Workspace]:
    """A new database for a row, unless one is given: what the rows before it have written could slow it down."""
    data = folder / "data"
    data.mkdir()
    try:
        with replace(mongodb, data_dir=str(data / "mongodb")).running() as uri:
            yield Workspace(uri, data, folder / "logs")
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _samples(
    row: Row, workspace: Workspace, rounds: int, seconds: int, cores: dict[str, int] | None, bar: "Bar[Any]"
) -> Generator[tuple[int, Pair], None, None]:
    """Each round's number, and for its sides in turn when they began (Unix seconds), and what they measured.

    A round in which the load generator was late comes again, until it is not: whoever reads this must end it.
    """
    rounds, seconds = 1 if row.once else rounds, row.times * seconds
    sides = [row.base, row.ours]
    with ExitStack() as running:
        bar.set_description(f"{row.name}: starting the servers")
        urls = {}
        for side in sides:
            if side.server not in urls:
                urls[side.server] = running.enter_context(side.server.running(workspace))
        with _on(cores["load"] if cores else None):
            for side in [] if row.once else sides:
                bar.set_description(f"{row.name}: warming up {side.name}")
                side.load(urls[side.server], WARMUP_SECONDS)
            for number in range(1, rounds + 1):
                pair: Pair = []
                while not pair or any(sample.late for _, _, sample in pair):
                    pair = []
                    for side in sides if number % 2 else reversed(sides):
                        bar.set_description(f"{row.name}: round {number} of {rounds}, {side.name}")
                        began = clock.now()
                        pair.append((side, began, side.load(urls[side.server], seconds)))
                    yield number, pair
                bar.update(len(pair))


def table(results: Sequence[Result]) -> str:
    """A line for each goal of each row: what, the goal, the measured ratio with its interval, pass or short."""
    lines = [["row", "what", "goal", "measured [95 % interval]", "verdict", "medians"]]
    lines += [
        [result.row.name, goal.what, str(goal), *_measured(result, goal)]
        for result in results
        for goal in result.row.goals
    ]
    widths = [max(map(len, column)) for column in zip(*(line[:-1] for line in lines), strict=True)]
    widths.append(len(lines[0][-1]))  # the last column may be as long as it likes: a reason stands there
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _measured(result: Result, goal: Goal) -> tuple[str, str, str]:
    """The ratio, the verdict and the medians; for a void row the reason instead of them."""
    if result.void:
        return "–", "void", result.void
    ratio, (base, ours) = result.ratio(goal), result.values(goal)
    return (
        str(ratio) if ratio.pairs > 1 else f"{ratio.value:.2f} (once)",
        "pass" if goal.holds(ratio.value) else "short",
        f"{_figure(ours)} ÷ {_figure(base)}{goal.unit}" + (f", {result.repeated} repeated" if result.repeated else ""),
    )


def _figure(values: Sequence[float]) -> str:
    median = statistics.median(values)
    return f"{median:,.0f}" if median >= 100 else f"{median:.3g}"


def _record(results: Sequence[Result]) -> dict[str, Any]:
    rows = []
    for result in results:
        goals = [
            {"what": goal.what, "goal": str(goal)}
            | dict(zip(("measured", "verdict", "medians"), _measured(result, goal), strict=True))
            for goal in result.row.goals
        ]
        sides = {
            side.name: {"server": repr(side.server), "load": side.load.__name__}
            for side in (result.row.base, result.row.ours)
        }
        about = {"name": result.row.name, "times": result.row.times, "void": result.void}
        rows.append(about | {"goals": goals, "sides": sides})
    return {
        "commit": machine.commit(),
        "machine": machine.describe(),
        "peers": {package: version(package) for package in PEER_PACKAGES},
        "wrk": _wrk_version(),
        "rows": rows,
    }


def _wrk_version() -> str:
    said = subprocess.run([wrk.program(), "--version"], check=False, capture_output=True, text=True).stdout
    found = re.match(r"wrk (\S+)", said)
    return found[1] if found else "unknown"


def _cores() -> dict[str, int] | None:
    """One core for the servers and one for the load; None where there is but one, or the system cannot pin."""
    if sys.platform != "linux":
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return {"servers": allowed[0], "load": allowed[-1]} if len(allowed) > 1 else None


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """Everything that is started in the block runs on `core` for as long as it lives: children inherit it."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
