"""How much can it take? The highest offered rate at which the service keeps its promise."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from loadtests import ingest
from loadtests.experiment import new_folder
from loadtests.run import Load, run

FIRST_RATE = 100.0
STEP = 1.08
USERS = 64


@dataclass(frozen=True)
class Slo:
    """A promise: so many percent of the requests within so many ms of being due, and almost none fails.

    `failures` is the share of requests that may fail, be refused, or never be sent for want of a free user.
    """

    percentile: int = 95
    milliseconds: float = 50.0
    failures: float = 0.001

    def __post_init__(self) -> None:
        if self.percentile not in (50, 95, 99):
            raise ValueError(f"a run tells percentiles 50, 95 and 99, not {self.percentile}")

    @property
    def column(self) -> str:
        """Which number of `ingest.summary` it is about."""
        return f"p{self.percentile}_ms"

    def held_by(self, summary: dict[str, Any]) -> bool:
        """Whether a run kept the promise."""
        ok = summary["requests_per_s"]
        bad = sum(summary[name] for name in ("refused_per_s", "failed_per_s", "unsent_per_s"))
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
    columns of `ingest.summary`.
    """

    scenario: str
    slo: Slo
    low: float
    high: float
    limit: str
    runs: pd.DataFrame = field(repr=False)

    def __str__(self) -> str:
        if not self.low:
            return f"{self.scenario}: no rate was found that holds {self.slo}" + (
                f" ({self.limit})" if self.limit else ""
            )
        if not isfinite(self.high):
            return f"{self.scenario}: at least {self.low:,.0f} requests/s with {self.slo} ({self.limit})"
        return f"{self.scenario}: {self.low:,.0f} to {self.high:,.0f} requests/s with {self.slo}"


def capacity(
    load: Load | str, url: str, slo: Slo | None = None, highest: float = 100_000.0, folder: Path | None = None
) -> Capacity:
    """Search the highest rate that holds `slo` on the service at `url`, and confirm it with a second run.

    `load` may be the name of a scenario: then 64 fast users, 4 s a run. The rate is doubled until the
    promise is broken, the step is halved until it is 8 %, and the highest rate that held is run again;
    should it fail then, the next lower one is. A run in which the load generator was the limit tells
    nothing about the service, and ends the search upwards.
    """
    load = Load(load, users=USERS, seconds=4.0, fast=True) if isinstance(load, str) else load
    slo, folder = slo or Slo(), folder or new_folder(f"capacity-{load.scenario}")
    rows: list[dict[str, Any]] = []

    def holds(rate: float) -> bool:
        place = folder / f"{len(rows) + 1:02d} at {rate:.0f}"
        run(replace(load, rate=rate), url, place, title=f"{load.scenario} at {rate:,.0f}/s")
        summary = ingest.summary(place)
        held = slo.held_by(summary)
        rows.append({"rate": rate, "held": held, "folder": place} | summary)
        return held

    low, high = _bracket(holds, load.rate or FIRST_RATE, highest)
    while low and high <= highest and high / low > STEP:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    while low and not holds(low):
        high, low = low, max((row["rate"] for row in rows if row["held"] and row["rate"] < low), default=0.0)
    broke = [row for row in rows if row["rate"] == high and not row["held"]]
    limit = broke[0]["void"] if broke else f"the search ended at {high:,.0f} requests/s"
    return Capacity(load.scenario, slo, low, inf if limit else high, limit, pd.DataFrame(rows))


def _bracket(holds: Callable[[float], bool], rate: float, highest: float) -> tuple[float, float]:
    """A rate that holds, and one not far above that does not; 0 if none holds."""
    low = 0.0
    while rate <= highest and holds(rate):
        low, rate = rate, rate * 2
    while not low and rate > 1:
        if holds(rate / 2):
            low = rate / 2
            break
        rate /= 2
    return low, rate
