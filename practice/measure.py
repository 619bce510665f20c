"""Measure a learner's server beside the lab's own on the same machine: capacity, cost per request, where time goes.

The costs are compared in turns, because the speed of a machine changes from minute to minute.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import requests

from harness import machine, processes
from harness.servers import direct_session
from loadtests import capacity, experiment, targets
from loadtests.capacity import Slo
from loadtests.comparison import Comparison
from loadtests.run import Load
from practice import runner, where
from practice.checks import messages
from practice.measured import OURS, YOURS, Capacity, Cost, Measured, Where
from practice.server import MARK, PUBLIC_BASE_URL
from practice.settings import SettingsError, Target, path_with_this_python
from practice.verdict import database_us, verdict
from profiles.record import ProfilerError

SCENARIOS = ("reads", "writes", "mixed")
USERS = 64
MESSAGES = 200
# A capacity is told in steps of a quarter: finer ones take longer, and no machine is that steady.
STEP = 1.25
# Costs are compared at this share of the lower capacity, where nobody queues, or of RATE if none was found.
EASY, RATE = 0.5, 100.0
ROUNDS = 6
# Single requests differ: a round needs some of them, but not more time than this.
REQUESTS_PER_ROUND = 100
MOST_SECONDS = 5.0
PROFILE_SECONDS = 4.0
SECONDS_TO_ANSWER = 20.0
# From this share on, what other programs use of the machine spoils the figures.
BUSY, BUSY_SECONDS = 0.2, 1.0


@dataclass(frozen=True)
class Filled:
    """A target whose server holds MESSAGES messages when it is given: an empty list is cheap to read."""

    target: targets.Target
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.target.settings

    @contextmanager
    def running(self) -> Iterator[targets.Running]:
        with self.target.running() as server, direct_session() as session:
            session.headers.update(self.headers)
            for number in range(MESSAGES):
                text = f"Message {number}, here before the measuring began."
                try:
                    url = f"{server.url}/messages"
                    session.post(url, json={"text": text}, timeout=SECONDS_TO_ANSWER).raise_for_status()
                except requests.RequestException as error:
                    raise SettingsError(f"POST /messages was not answered as it should be: {error}") from error
            yield server


def measure(
    target: Target,
    slo: Slo,
    seconds: float,
    tell: Callable[[str], None] = lambda line: None,
    *,
    rounds: int = ROUNDS,
    scenarios: Sequence[str] = SCENARIOS,
) -> Measured:
    """Measure the server of `target` and the lab's own; each run lasts `seconds`, and costs are compared in `rounds`.

    The last of `scenarios` is the mix, of which the verdict is. `tell` is called with what is being measured. Whatever
    the learner's server has started is killed at the end. Raises `SettingsError`, also if stage 2 fails,
    `ProgramError`, `MongodError` and `RunError`.
    """
    steps = 2 + 2 * len(scenarios)
    numbers = iter(range(1, steps + 1))

    def step(what: str) -> None:
        tell(f"{next(numbers)} of {steps}  {what}")

    step("does stage 2 pass?")
    busy = _busy()
    _must_pass(target)
    mark = secrets.token_hex(8)
    yours = Filled(_learners(target, mark), target.headers)
    load = Load(_path("reads"), USERS, seconds, fast=True, headers=target.headers)
    try:
        loads = {each: replace(load, scenario=_path(each)) for each in scenarios}
        found = _measured(target, yours, loads, slo, rounds, step)
        return found.model_copy(update={"notes": [*_notes(target, busy)]})
    finally:
        processes.kill_all(processes.carrying(MARK, mark))


def _measured(
    target: Target, yours: Filled, loads: Mapping[str, Load], slo: Slo, rounds: int, step: Callable[[str], None]
) -> Measured:
    found, comparisons = {}, {}
    for scenario, load in loads.items():
        step(f"capacity, {scenario}")
        searched = capacity.capacities({YOURS: yours, OURS: {}}, load, slo, STEP)
        found[scenario] = {name: _ends(each) for name, each in searched.items()}
        step(f"cost, {scenario}, {rounds} pairs of rounds in turns")
        easy = max(1.0, EASY * min(each.low or RATE for each in searched.values()))
        comparisons[scenario] = experiment.compare({OURS: {}, YOURS: yours}, _easy(load, easy), rounds)
    step("where the time goes")
    first, *_, mixed = *comparisons.values(), comparisons[scenario]
    seen, outside, sqlite_us = _look(yours, target.folder, replace(first.load, scenario=_path("reads")), mixed.load)
    return Measured(
        at=datetime.now(UTC),
        machine=_machine(),
        slo=str(slo),
        capacities=found,
        costs={scenario: _cost(each) for scenario, each in comparisons.items()},
        where=seen,
        verdict=verdict(mixed.rounds[mixed.rounds["variant"] == YOURS], outside=outside, sqlite_us=sqlite_us),
    )


def _must_pass(target: Target) -> None:
    """Raise `SettingsError` unless stage 2 passes: a server that stores nothing is quick at it."""
    result = runner.run_stage(target, messages.STAGE)
    for check in result.checks:
        if check.outcome == "fail":
            place = f"--url {target.url}" if target.url else str(target.folder)
            raise SettingsError(
                f"stage 2 must pass before a server is measured, and {check.id} fails ({check.says}): "
                f"python -m practice check {place} --stage 2"
            )


def _learners(target: Target, mark: str) -> targets.Target:
    if target.url is not None:
        return targets.Elsewhere(target.url)
    assert target.command is not None
    environment: dict[str, str | None] = {
        "PATH": path_with_this_python(),
        "TWILIO_AUTH_TOKEN": "measured",
        "SLACK_SIGNING_SECRET": "measured",
        "PUBLIC_BASE_URL": PUBLIC_BASE_URL,
        "WRITE_LIMIT": None,
        MARK: mark,
    }
    return targets.Command(target.command, environment, target.ready, target.folder)


def _look(yours: Filled, folder: Path, reads: Load, mixed: Load) -> tuple[Where, bool, float | None]:
    """Where the time goes in reads, whether the server is connected to another program, and µs in SQLite (mixed)."""
    with yours.running() as server:
        outside = where.calls_out(server)
        seen = where.look(server, replace(reads, seconds=PROFILE_SECONDS), folder)
        if seen.by != "py-spy" or outside:
            return seen, outside, None
        try:
            return seen, outside, where.in_sqlite(server, replace(mixed, seconds=PROFILE_SECONDS))
        except ProfilerError:
            return seen, outside, None


def _easy(load: Load, rate: float) -> Load:
    """The load for comparing costs, at `rate` requests/s: users as most clients are, and as long as it needs."""
    seconds = min(max(load.seconds, REQUESTS_PER_ROUND / rate), max(load.seconds, MOST_SECONDS))
    return Load(load.scenario, seconds=seconds, rate=rate, headers=load.headers)


def _path(scenario: str) -> str:
    return f"{Path(__file__).with_name('scenarios.py')}:{scenario}"


def _ends(found: capacity.Capacity) -> Capacity:
    return Capacity(low=found.low or None, high=found.high if isfinite(found.high) else None, limit=found.limit)


def _cost(comparison: Comparison) -> Cost:
    rounds = comparison.rounds[comparison.rounds["lost"] == ""]
    databases = rounds.assign(database_us=database_us(rounds)).groupby("variant")["database_us"].median()
    medians = {
        "server_us": comparison.values("server_us").median(),
        "database_us": databases,
        "p50_ms": comparison.values("p50_ms").median(),  # of the rounds in which Locust was not the limit
    }
    of = {
        column: {name: _or_none(values.get(name, float("nan"))) for name in (YOURS, OURS)}
        for column, values in medians.items()
    }
    times = str(comparison.ratio("server_us") or "")
    return Cost.model_validate({"rate": comparison.load.rate, "times": times, **of})


def _or_none(value: float) -> float | None:
    return None if isnan(value) else float(value)


def _machine() -> str:
    about = machine.describe()
    return f"{about['cores']} cores of {about['processor']}, {about['system']}"


def _busy() -> float:
    """The share of this machine that other programs use, before anything of ours runs."""
    began = machine.busy_seconds()
    time.sleep(BUSY_SECONDS)
    return (machine.busy_seconds() - began) / BUSY_SECONDS / (os.cpu_count() or 1)


def _notes(target: Target, busy: float) -> Iterator[str]:
    """What no figure shows: how busy the machine was, and in what the two servers are not equal."""
    if busy > BUSY:
        yield (
            f"Other programs used {busy:.0%} of this machine when the measuring began: these figures are worth "
            "little. Measure again when it has nothing else to do."
        )
    yield (
        "The lab's server answers a write when the disk has it. Does yours? kill -9 cannot tell: it takes the process, "
        "and not the disk's cache."
    )
    if target.promises.stale_ms:
        yield f"Your lists may be {target.promises.stale_ms} ms old; the lab's never are."
