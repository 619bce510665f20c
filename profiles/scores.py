"""Test the measuring itself: equals that it must not tell apart, and faults of known size that it has to find.

Each score prints a line as soon as it knows more, and returns a table, whether the result is good enough,
and the result in words.
"""

import signal
import statistics
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import pandas as pd
import psutil

from harness import watch
from harness.processes import descendants
from harness.servers import direct_session
from harness.threads import meanwhile
from loadtests.comparison import ASKED, METRICS
from loadtests.experiment import RATE, compare, servers, targets_of
from loadtests.folders import new_folder
from loadtests.ingest import Run
from loadtests.run import Load, run, until_loaded
from loadtests.summary import summarize
from loadtests.targets import Running
from profiles.experiment import profile

Score = tuple[pd.DataFrame, bool, str]

# What is compared: the default length, by users that leave the processor to the server.
READS = Load("reads", rate=RATE, fast=True)
STALL_SECONDS = 2.0
DUTY_SECONDS = 0.05
# What the fault that is looked for costs in the score `present`; how many requests are sent in a row to each server,
# which take turns, and how often.
PRESENT_US, PRESENT_REQUESTS, PRESENT_TURNS = 2000.0, 40, 7


@dataclass(frozen=True)
class Form:
    """How much is done: all of it, or as little as shows that the measuring still works.

    `times` says how often each score is taken, once if it does not; `rounds` are those of a comparison, and a profile
    has half as many; `share` and `hot_us` the size of the faults, of a request's CPU and in microseconds; `allowed` how
    far from 1 the ratio of equals may be in any case; `stall_seconds` how long the load with the stall lasts; `near`
    how near its p99 must be.
    """

    times: Mapping[str, int]
    rounds: int
    share: float
    hot_us: float
    allowed: float
    stall_seconds: float
    near: float


# As often as the thresholds need, and all in 20 to 25 minutes.
FULL = Form(
    {"equals": 10, "burn": 5, "stall": 3, "starved": 3, "hot": 3, "hang": 3, "killed": 3},
    rounds=6, share=0.10, hot_us=200.0, allowed=0.0, stall_seconds=10.0, near=0.1,
)  # fmt: skip
SHORT = Form({"equals": 2}, rounds=3, share=4.0, hot_us=1000.0, allowed=0.3, stall_seconds=5.0, near=0.25)
# Of comparisons of equals so many may say that they differ, and one in any case: 1 of 20 does, and 2 with bad luck.
FALSE_ALARMS = 0.1


def equals(times: int, form: Form = FULL) -> Score:
    """Identical settings, compared: a difference may be "found" in 1 of 20, and in 2 with bad luck."""
    rows = []
    for number in range(1, times + 1):
        comparison = compare({"A": {}, "A again": {}}, replace(READS, seconds=1.5), form.rounds)
        ratio = comparison.ratio(ASKED)
        said = [name for name in METRICS if comparison.differs(name)]
        different = ASKED in said and ratio is not None and abs(ratio.value - 1) > form.allowed
        others = ", ".join(name for name in said if name != ASKED)
        rows.append({"run": number, "ratio": str(ratio), "different": different, "others": others})
        _tell("equals", rows)
    table = pd.DataFrame(rows)
    wrong = int(table["different"].sum())
    good = wrong <= max(1.0, FALSE_ALARMS * len(table))
    return table, good, f"{wrong} of {len(table)} comparisons of equals say that their CPU differs"


def burn(times: int, form: Form = FULL) -> Score:
    """A tenth more processor time for each request, compared at the default length: found in 9 of 10."""
    extra = form.share * _usual_cost(form.rounds // 3)
    rows = []
    for number in range(1, times + 1):
        ratio = compare({"as it is": {}, "more": _faulty(extra)}, READS, form.rounds).ratio(ASKED)
        found = ratio is not None and ratio.low > 1
        rows.append({"run": number, "added_us": round(extra, 1), "ratio": str(ratio), "found": found})
        _tell("burn", rows)
    return _judge(rows, 0.9, f"{form.share:.0%} more CPU was found")


def stall(times: int, form: Form = FULL) -> Score:
    """A server that stands still for 2 s at a constant rate: the p99 from due time is known beforehand."""
    load = Load("reads", users=64, seconds=form.stall_seconds, rate=RATE, fast=True)
    rows = []
    # Due at a constant rate, the requests wait 2 s at most, and all shorter times as often.
    expected = 1000 * (STALL_SECONDS - 0.01 * load.seconds)
    for number, summary in _runs(times, load, lambda server, folder: _stands_still(server, folder, load)):
        found = bool(abs(summary["p99_ms"] / expected - 1) <= form.near)
        measured = {"p99_ms": round(summary["p99_ms"]), "from_send_ms": round(summary["p99_from_send_ms"])}
        rows.append({"run": number, "by_hand_ms": expected, **measured, "void": summary["void"], "found": found})
        _tell("stall", rows)
    return _judge(rows, 1.0, f"the p99 from due time was within {form.near:.0%} of that computed by hand")


def starved(times: int, form: Form = FULL) -> Score:
    """A Locust that gets the processor only half of the time: each run has to be void."""
    rows = []
    for number, summary in _runs(times, Load("reads", rate=RATE), lambda _, folder: half_stopped(folder)):
        late = f"{summary['generator_late']:.0%}"
        rows.append({"run": number, "late": late, "void": summary["void"], "found": bool(summary["void"])})
        _tell("starved", rows)
    return _judge(rows, 1.0, "a starved load generator was noticed")


def killed(times: int, form: Form = FULL) -> Score:
    """One of two processes of Locust is killed in the middle of a run: the run has to be void, and say so."""
    load = Load("reads", rate=RATE, seconds=3.0, processes=2)
    rows = []
    for number, summary in _runs(times, load, lambda _, folder: _worker_killed(folder)):
        rows.append({"run": number, "void": summary["void"], "found": "worker" in summary["void"]})
        _tell("killed", rows)
    return _judge(rows, 1.0, "a worker of the load generator that died was noticed")


def hang(times: int, form: Form = FULL) -> Score:
    """A server that stops answering for good: every request that is due from then on is in the result."""
    load = Load("reads", users=8, rate=RATE, seconds=2.0)
    rows = []
    for number, summary in _runs(times, load, _stops_answering):
        counted = summary["due_per_s"] / RATE
        without = (summary["unanswered_per_s"] + summary["unsent_per_s"]) / RATE
        found = bool(abs(counted - 1) <= 0.05 and without > 0.2)
        rows.append({"run": number, "counted": f"{counted:.1%}", "without_answer": f"{without:.1%}", "found": found})
        _tell("hang", rows)
    return _judge(rows, 1.0, "all requests that were due were counted, those without an answer too")


def hot(times: int, form: Form = FULL) -> Score:
    """A function that takes 200 µs of each request: the first in the table of what changed."""
    rows = []
    for number in range(1, times + 1):
        variants = {"as it is": {}, "hot": _faulty(form.hot_us)}
        changes = profile(variants, replace(READS, seconds=1.5), form.rounds // 2).changes()
        first, change = str(changes.index[0]), round(changes["change"].iloc[0])
        rows.append({"run": number, "first": first, "change_us": change, "found": first.startswith("waste_time ")})
        _tell("hot", rows)
    return _judge(rows, 1.0, "the added function was the first of what changed")


def present(times: int, form: Form = FULL) -> Score:
    """The fault that `burn` and `hot` look for is there: seen from outside, on each way a request is answered."""
    rows: list[dict[str, Any]] = []
    for fast_path in ("on", "off"):
        settings = {"fast_path": fast_path}
        variants = {"as it is": settings, "faulty": _faulty(PRESENT_US) | settings}
        with targets_of(variants, messages=20) as targets, servers(targets) as running:
            for method, body in (("GET", None), ("POST", {"text": "a message"})):
                added = statistics.median(_added(running, method, body) for _ in range(PRESENT_TURNS))
                found = 0.75 * PRESENT_US < added < 1.5 * PRESENT_US
                rows.append({"fast_path": fast_path, "method": method, "added_us": round(added), "found": found})
                _tell("present", rows)
    return _judge(rows, 1.0, f"the fault of {PRESENT_US:,.0f} µs was there")


SCORES: dict[str, Callable[[int, Form], Score]] = {
    "present": present,
    "equals": equals,
    "burn": burn,
    "stall": stall,
    "starved": starved,
    "killed": killed,
    "hang": hang,
    "hot": hot,
}


def take(name: str, times: int | None = None, form: Form = FULL) -> Score:
    """One of SCORES, `times` times, or as often as its form says."""
    return SCORES[name](times or form.times.get(name, 1), form)


def _faulty(microseconds: float) -> dict[str, Any]:
    return {"program": ("loadtests.faulty_server", "--burn", f"{microseconds:.1f}")}


def _runs(
    times: int, load: Load, fault: Callable[[Running, Path], AbstractContextManager[None]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The summaries of runs during each of which there is a fault, each on a new server.

    `due_per_s` is added: requests that were due in the measured time, whatever became of them.
    """
    with targets_of({"as it is": {}}) as targets:
        for number in range(1, times + 1):
            folder = new_folder("score")
            with targets["as it is"].running() as server, fault(server, folder):
                run(load, server.url, folder, pid=server.pid)
            measured = Run(folder)
            yield number, summarize(measured) | {"due_per_s": len(measured.measured) / measured.seconds}


def _added(running: Mapping[str, Running], method: str, body: Any) -> float:
    """How much more CPU a request costs the server "faulty" than the one "as it is", in microseconds."""
    return _cost(running["faulty"], method, body) - _cost(running["as it is"], method, body)


def _cost(server: Running, method: str, body: Any) -> float:
    """Server CPU for a request, in microseconds, sent one after another without Locust."""
    (process,) = watch.behind(server.url).roles["server"]
    with direct_session() as session:
        before = watch.cpu_seconds(process)
        for _ in range(PRESENT_REQUESTS):
            session.request(method, f"{server.url}/messages", json=body, timeout=30).raise_for_status()
        return (watch.cpu_seconds(process) - before) * 1e6 / PRESENT_REQUESTS


def _judge(rows: list[dict[str, Any]], needed: float, what: str) -> Score:
    table = pd.DataFrame(rows)
    found = int(table["found"].sum())
    return table, found >= needed * len(table), f"{what} in {found} of {len(table)}"


def _tell(name: str, rows: list[dict[str, Any]]) -> None:
    click.echo(f"{name} {rows[-1]}", err=True)


def _usual_cost(rounds: int) -> float:
    """Server CPU for a request as `compare` measures it, in microseconds."""
    return float(compare({"as it is": {}}, READS, rounds).rounds[ASKED].median())


@contextmanager
def _stands_still(server: Running, folder: Path, load: Load) -> Iterator[None]:
    """Stop the server once for STALL_SECONDS, a third into the load that logs into `folder`."""

    def stop_once(ended: threading.Event) -> None:
        until_loaded(folder, ended.is_set)
        ended.wait(load.warmup + load.seconds / 3)
        with stopped(watch.behind(server.url).roles["server"]):
            ended.wait(STALL_SECONDS)

    with meanwhile(stop_once):
        yield


@contextmanager
def _stops_answering(server: Running, folder: Path) -> Iterator[None]:
    """Stop the server for good, a second into the load; it goes on when the run has ended, to be stopped."""

    def stop_for_good(ended: threading.Event) -> None:
        until_loaded(folder, ended.is_set)
        ended.wait(1.0)
        with stopped(watch.behind(server.url).roles["server"]):
            ended.wait()

    with meanwhile(stop_for_good):
        yield


@contextmanager
def _worker_killed(folder: Path) -> Iterator[None]:
    """Kill a worker of the Locust that logs into `folder`, soon after the load has begun."""

    def kill_one(ended: threading.Event) -> None:
        until_loaded(folder, ended.is_set)
        ended.wait(1.0)
        _, *workers = sorted(_locusts(folder), key=lambda process: process.create_time())
        for worker in workers[:1]:
            worker.kill()

    with meanwhile(kill_one):
        yield


@contextmanager
def half_stopped(folder: Path) -> Iterator[None]:
    """Stop the Locust that logs into `folder` half of the time."""

    def stop_again_and_again(ended: threading.Event) -> None:
        until_loaded(folder, ended.is_set)
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
