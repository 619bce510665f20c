"""Search the capacity of a service: the highest offered rate at which it holds a service level objective (SLO)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import pandas as pd

from harness import progress
from harness.progress import Bar
from loadtests.experiment import Variants, targets_of
from loadtests.folders import new_folder
from loadtests.ingest import Run
from loadtests.run import Load, run
from loadtests.summary import locust_was_the_limit, summarize

LOWEST_RATE = 1.0
STEP = 1.08
# Callers who each wait for their answer send about as many requests as a service takes, with latencies that are too
# long: the search begins at this share of them, or at FIRST_RATE if none succeeded.
FIRST_SHARE, FIRST_RATE = 0.87, 100.0
# The most by which the search goes further at once.
MOST_AT_ONCE = 4.0
# About so many runs a search takes, for its progress bar.
RUNS = 8
ROUNDING = 1 + 1e-9  # a gap of just one step is not halved because of the last digit of a root
USERS = 64


@dataclass(frozen=True)
class Slo:
    """A service level objective: a percentile of latency from due time, in ms, and a share of failures.

    `failures` is the share of requests that may fail, be refused, get no answer, or never be sent for want of a free
    user.
    """

    percentile: int = 95
    milliseconds: float = 50.0
    failures: float = 0.001

    def __post_init__(self) -> None:
        if self.percentile not in (50, 95, 99):
            raise ValueError(f"a run tells percentiles 50, 95 and 99, not {self.percentile}")

    @property
    def column(self) -> str:
        """Which number of `summarize` it is about."""
        return f"p{self.percentile}_ms"

    def held_by(self, summary: dict[str, Any]) -> bool:
        """Whether a run held the objective."""
        ok = summary["requests_per_s"]
        bad = sum(summary[name] for name in ("refused_per_s", "failed_per_s", "unanswered_per_s", "unsent_per_s"))
        return bool(
            not summary["lost"]
            and ok
            and bad / (ok + bad) <= self.failures
            and summary[self.column] < self.milliseconds
        )

    def __str__(self) -> str:
        return f"p{self.percentile} < {self.milliseconds:g} ms, failures ≤ {self.failures:.1%}"


@dataclass(frozen=True)
class Capacity:
    """The capacity lies from `low`, which held twice, to `high`, the lowest rate above it that did not (requests/s).

    `high` is infinite and `limit` says why if the service was never seen to fail: the load generator was
    the limit, or the search ended. `runs` has a row for each run: rate (offered), held, folder, and the
    columns of `summarize`.
    """

    scenario: str
    slo: Slo
    low: float
    high: float
    limit: str
    runs: pd.DataFrame = field(repr=False)

    def at_capacity(self) -> pd.DataFrame:
        """The rows of `runs` that held at `low`: the run that found it, and the one that confirmed it."""
        return self.runs[(self.runs["rate"] == self.low) & self.runs["held"]]

    def __str__(self) -> str:
        if not self.low:
            return f"{self.scenario}: no rate was found that holds {self.slo}" + (
                f" ({self.limit})" if self.limit else ""
            )
        if not isfinite(self.high):
            return f"{self.scenario}: at least {self.low:,.0f} requests/s with {self.slo} ({self.limit})"
        return f"{self.scenario}: {self.low:,.0f} to {self.high:,.0f} requests/s with {self.slo}"


def capacity(
    load: Load | str,
    url: str,
    slo: Slo | None = None,
    highest: float = 100_000.0,
    folder: Path | None = None,
    step: float = STEP,
    settings: Mapping[str, Any] | None = None,
    pid: int | None = None,
) -> Capacity:
    """Search the highest rate that holds `slo` on the service at `url`, and confirm it with a second run.

    `load` may be the name of a scenario: then 64 fast users, 4 s a run. The search begins at the rate of `load`;
    without one, at FIRST_SHARE of what its users achieve when each sends its next request when it has its answer. From
    there it goes up, or down, by `step` (1.08: 8 %), twice, and then by more each time, until it has seen a rate that
    held and one that did not; then it halves the gap until that is `step`. Then the highest rate that held is run
    again; should it fail now, the next lower one is, and the search goes on below in the same way if none is left. A
    run in which Locust was the limit is made again with twice as many processes, as long as there are cores for them
    and `load` has no options for Locust itself; if it still is, or the machine is full, the run tells nothing about the
    service, and ends the search upwards. `settings` and `pid` as for `run`.
    """
    load = Load(load, users=USERS, seconds=4.0, fast=True) if isinstance(load, str) else load
    slo = slo or Slo()
    with progress.bar(f"the capacity of {load.title}", RUNS, unit=" runs, more or less") as bar:
        tried = _Trials(load, url, slo, folder or new_folder(f"capacity-{load.title}"), settings, pid, bar)
        low, high = _search(tried, load.rate, highest, step)
    broke = [row for row in tried.rows if row["rate"] == high and not row["held"]]
    limit = broke[-1]["void"] if broke else f"the search ended at {highest:,.0f} requests/s"
    return Capacity(load.title, slo, low, inf if limit else high, limit, pd.DataFrame(tried.rows))


def _search(tried: "_Trials", first: float | None, highest: float, step: float) -> tuple[float, float]:
    """The highest rate that held twice, and the lowest above it that did not: see `capacity`."""
    rows = tried.rows
    low, high, rate = 0.0, inf, min(first or tried.first_rate(), highest)
    strides = _strides(step)
    while not low and rate >= LOWEST_RATE:
        while rate >= LOWEST_RATE and low < highest and high > low * step * ROUNDING:
            low, high = (rate, high) if tried.holds(rate) else (low, rate)
            if low and isfinite(high):
                rate = (low * high) ** 0.5
            else:
                rate = min(low * next(strides), highest) if low else high / next(strides)
        while low and not tried.holds(low):
            high, low = low, max((row["rate"] for row in rows if row["held"] and row["rate"] < low), default=0.0)
        rate = high / next(strides)
    return low, high


def _strides(step: float) -> Iterator[float]:
    """By what the search goes further: twice by `step`, because the first guess is a good one, and then by more."""
    yield step
    while True:
        yield step
        step = min(step**2, MOST_AT_ONCE)


class _Trials:
    """Runs of `load` on the service at `url`, each at another rate. `rows` has what came of them, as of `Capacity`."""

    def __init__(
        self,
        load: Load,
        url: str,
        slo: Slo,
        folder: Path,
        settings: Mapping[str, Any] | None,
        pid: int | None,
        bar: "Bar[Any]",
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self._load, self._url, self._slo, self._folder = load, url, slo, folder
        self._settings, self._pid, self._bar = settings, pid, bar

    def first_rate(self) -> float:
        """Where to begin, by a run in which each user waits for its answer."""
        summary = self._run(self._folder / "00 as fast as answered", None)
        self._with_more_of_locust(summary)
        return FIRST_SHARE * float(summary["requests_per_s"]) or FIRST_RATE

    def holds(self, rate: float) -> bool:
        """Whether the objective holds at this rate."""
        folder = self._folder / f"{len(self.rows) + 1:02d} at {rate:.0f}"
        summary = self._run(folder, rate)
        held = self._slo.held_by(summary)
        self.rows.append({"rate": rate, "held": held, "folder": folder} | summary)
        return held or (self._with_more_of_locust(summary) and self.holds(rate))

    def _run(self, folder: Path, rate: float | None) -> dict[str, Any]:
        about = f"{self._load.title}, {f'{rate:,.0f}/s' if rate else 'as fast as answered'}"
        run(replace(self._load, rate=rate), self._url, folder, self._settings, title=about, pid=self._pid)
        self._bar.total = max(RUNS, int(self._bar.n) + 2)  # it takes a run more at least, until it is over
        self._bar.update()
        return summarize(Run(folder))

    def _with_more_of_locust(self, summary: Mapping[str, Any]) -> bool:
        """Go on with twice as many processes of Locust, if one was at its limit and there are cores for more."""
        more = locust_was_the_limit(summary) and self._load.processes < summary["cores"] and not self._load.locust
        if more:
            self._load = replace(self._load, processes=2 * self._load.processes)
        return bool(more)


def capacities(
    variants: Variants, load: Load, slo: Slo | None = None, step: float = 1.25, folder: Path | None = None
) -> dict[str, Capacity]:
    """The capacity for `load` of each of `variants` (see `experiment.compare`), one after another; see `capacity`."""
    folder, found = folder or new_folder(f"capacities-{load.title}"), {}
    about = f"capacities for {load.title}"
    with targets_of(variants) as targets, progress.bar(about, len(variants), unit=" variants") as bar:
        for name, target in targets.items():
            bar.set_description(f"{about}, {name}")
            with target.running() as server:
                found[name] = capacity(
                    load, server.url, slo, folder=folder / name, step=step, settings=target.settings, pid=server.pid
                )
            bar.update()
        bar.set_description(about)
    return found


def ladder(found: Mapping[str, Capacity]) -> pd.DataFrame:
    """What `capacities` found; a row for each variant.

    Columns: low and high (the capacity lies between, requests/s), times (low as a multiple of the first
    variant's), server_us and mongod_us (processor time for each successful request at `low`, mean of its
    runs), server_cores (all its processes), limit (why there is no `high`, or "").
    """
    first = next(iter(found.values())).low
    rows = []
    for name, each in found.items():
        costs = each.at_capacity()[["server_us", "mongod_us", "server_cores"]].mean()
        rows.append(
            {"variant": name, "low": each.low, "high": each.high, "times": each.low / first if first else nan}
            | costs.to_dict()
            | {"limit": each.limit}
        )
    return pd.DataFrame(rows).set_index("variant")
