"""The measuring, measured: truths it has to leave alone, and faults of known size that it has to find.

Each score prints a line as soon as it knows more, and returns a table, whether the result is good enough,
and the result in words.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import pandas as pd
import psutil

from harness.processes import descendants
from harness.threads import meanwhile
from loadtests import ingest, service
from loadtests.comparison import METRICS
from loadtests.experiment import RATE, compare, database
from loadtests.folders import new_folder
from loadtests.run import Load, run
from profiles.experiment import profile

Score = tuple[pd.DataFrame, bool, str]

FIRST = next(iter(METRICS))
COMMON = 20
RARE = 10
BURN_SHARE = 0.10
HOT_US = 200.0
STALL_SECONDS = 2.0
STALL_LOAD = Load("reads", users=64, seconds=10.0, rate=RATE, fast=True)
DUTY_SECONDS = 0.05


def equals(times: int | None = None) -> Score:
    """Identical settings, compared: a difference may be "found" in 1 of 20, and in 2 with bad luck."""
    rows = []
    for number in range(1, (times or COMMON) + 1):
        comparison = compare({"A": {}, "A again": {}}, "reads")
        ratio = comparison.ratio(FIRST)
        said = [name for name in METRICS if (each := comparison.ratio(name)) and each.differs]
        rows.append(
            {
                "run": number,
                "ratio": str(ratio),
                "different": FIRST in said,
                "others": ", ".join(said[1:] if FIRST in said else said),
            }
        )
        _tell("equals", rows)
    table = pd.DataFrame(rows)
    wrong = int(table["different"].sum())
    return (
        table,
        wrong <= 2 * len(table) / COMMON,
        f"{wrong} of {len(table)} comparisons of equals say that their CPU differs",
    )


def burn(times: int | None = None) -> Score:
    """A tenth more processor time for each request, compared at the default length: found in 9 of 10."""
    extra = BURN_SHARE * _usual_cost()
    faulty = {"program": ("loadtests.faulty_server", "--burn", f"{extra:.1f}")}
    rows = []
    for number in range(1, (times or RARE) + 1):
        ratio = compare({"as it is": {}, "a tenth more": faulty}, "reads").ratio(FIRST)
        found = ratio is not None and ratio.low > 1
        rows.append({"run": number, "added_us": round(extra, 1), "ratio": str(ratio), "found": found})
        _tell("burn", rows)
    return _judge(rows, 0.9, "an added tenth of CPU was found")


def stall(times: int | None = None) -> Score:
    """A server that stands still for 2 s at a constant rate: the p99 from due time is known beforehand."""
    rows = []
    # Due at a constant rate, the requests wait 2 s at most, and all shorter times as often.
    expected = 1000 * (STALL_SECONDS - 0.01 * STALL_LOAD.seconds)
    with database() as place:
        for number in range(1, (times or RARE) + 1):
            folder = new_folder("stall")
            with service.running(**place) as server, _stands_still(server.pid, folder):
                run(STALL_LOAD, server.url, folder, title="stall")
            summary = ingest.summary(folder)
            found = bool(abs(summary["p99_ms"] / expected - 1) <= 0.1)
            rows.append(
                {
                    "run": number,
                    "by_hand_ms": expected,
                    "p99_ms": round(summary["p99_ms"]),
                    "from_send_ms": round(summary["p99_from_send_ms"]),
                    "void": summary["void"],
                    "found": found,
                }
            )
            _tell("stall", rows)
    return _judge(rows, 1.0, "the p99 from due time was within 10 % of that computed by hand")


def starved(times: int | None = None) -> Score:
    """A Locust that gets the processor only half of the time: each run has to be void."""
    rows = []
    with database() as place:
        for number in range(1, (times or RARE) + 1):
            folder = new_folder("starved")
            with service.running(**place) as server, half_stopped(folder):
                run(Load("reads", rate=RATE), server.url, folder, title="starved")
            summary = ingest.summary(folder)
            rows.append(
                {
                    "run": number,
                    "late": f"{summary['generator_late']:.0%}",
                    "void": summary["void"],
                    "found": bool(summary["void"]),
                }
            )
            _tell("starved", rows)
    return _judge(rows, 1.0, "a starved load generator was noticed")


def hot(times: int | None = None) -> Score:
    """A function that takes 200 µs of each request: the first in the table of what changed."""
    faulty = {"program": ("loadtests.faulty_server", "--burn", f"{HOT_US:g}")}
    rows = []
    for number in range(1, (times or RARE) + 1):
        changes = profile({"as it is": {}, "hot": faulty}, Load("reads", rate=RATE)).changes()
        first = str(changes.index[0])
        rows.append(
            {
                "run": number,
                "first": first,
                "change_us": round(changes["change"].iloc[0]),
                "found": first.startswith("waste_time "),
            }
        )
        _tell("hot", rows)
    return _judge(rows, 1.0, "the added function was the first of what changed")


SCORES: dict[str, Callable[[int | None], Score]] = {
    "equals": equals,
    "burn": burn,
    "stall": stall,
    "starved": starved,
    "hot": hot,
}


def _judge(rows: list[dict[str, Any]], needed: float, what: str) -> Score:
    table = pd.DataFrame(rows)
    found = int(table["found"].sum())
    return table, found >= needed * len(table), f"{what} in {found} of {len(table)}"


def _tell(name: str, rows: list[dict[str, Any]]) -> None:
    click.echo(f"{name} {rows[-1]}", err=True)


def _usual_cost() -> float:
    """Server CPU for a request as `compare` measures it, in microseconds."""
    return float(compare({"as it is": {}}, "reads", rounds=2).rounds[FIRST].median())


@contextmanager
def _stands_still(pid: int, folder: Path) -> Iterator[None]:
    """Stop the process once for STALL_SECONDS, a third into the load that logs into `folder`."""

    def stop_once(ended: threading.Event) -> None:
        _until_loaded(folder, ended)
        ended.wait(STALL_LOAD.warmup + STALL_LOAD.seconds / 3)
        with stopped([psutil.Process(pid)]):
            ended.wait(STALL_SECONDS)

    with meanwhile(stop_once):
        yield


@contextmanager
def half_stopped(folder: Path) -> Iterator[None]:
    """Stop the Locust that logs into `folder` half of the time."""

    def stop_again_and_again(ended: threading.Event) -> None:
        _until_loaded(folder, ended)
        while not ended.wait(DUTY_SECONDS):
            with stopped(_locusts(folder)):
                ended.wait(DUTY_SECONDS)

    with meanwhile(stop_again_and_again):
        yield


def _locusts(folder: Path) -> list[psutil.Process]:
    """Our own Locust, which was told to write into `folder`."""
    started = descendants([psutil.Process()])[1:]
    found = []
    for process in started:
        with suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                found.append(process)
    return found


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """Hold `processes` while the block runs: they live and keep their connections, but do nothing."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)


def _until_loaded(folder: Path, ended: threading.Event) -> None:
    log = folder / "requests.csv"
    while not ended.is_set() and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
