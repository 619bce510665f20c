"""Conditions under which a run or a comparison fails, such as `p95_ms > 50`: for a team's CI.

A condition is judged by an interval: it is met only if the whole 95 % interval meets it, not met only if nothing of the
interval does, and otherwise cannot be told. Of several conditions each has a wider interval, so that all together are
wrong in at most 5 % of cases (Bonferroni).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
import pandas as pd
from scipy import special

from loadtests.comparison import METRICS, Comparison
from loadtests.ingest import Run
from loadtests.intervals import CONFIDENCE
from loadtests.request_log import OK, UNANSWERED, UNSENT

MET, NOT_MET, UNKNOWN = "met", "not met", "cannot tell"
EXIT_STATUS = {NOT_MET: 0, MET: 1, UNKNOWN: 3}
_CONDITION = re.compile(r"\s*(\w+)\s*(<|>)=?\s*([0-9.eE+-]+)\s*")
_PERCENTILE = re.compile(r"p(\d+)_ms")


@dataclass(frozen=True)
class Condition:
    """`name` is above `bound`, or below it if `below`."""

    name: str
    below: bool
    bound: float
    text: str

    def judge(self, low: float, high: float) -> str:
        """What the interval from `low` to `high` says."""
        if isnan(low) or isnan(high):
            return UNKNOWN
        if self.below:
            return MET if high < self.bound else NOT_MET if low >= self.bound else UNKNOWN
        return MET if low > self.bound else NOT_MET if high <= self.bound else UNKNOWN


@dataclass(frozen=True)
class Judgement:
    """What was found about a condition: MET, NOT_MET or UNKNOWN, and why in words."""

    condition: Condition
    verdict: str
    why: str

    def __str__(self) -> str:
        return f"{self.condition.text}: {self.verdict} ({self.why})"


def parse(text: str, names: Sequence[str]) -> Condition:
    """The condition that `text` states about one of `names`. Raises `ValueError`."""
    found = _CONDITION.fullmatch(text)
    try:
        if found is None or found[1] not in names:
            raise ValueError
        return Condition(found[1], found[2] == "<", float(found[3]), text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a condition: write NAME > NUMBER, NAME one of {', '.join(names)}") from error


def judge_run(run: Run, summary: dict[str, object], conditions: Sequence[Condition]) -> list[Judgement]:
    """Judge a run. Percentiles have the interval of order statistics; other numbers are what they are."""
    judged = []
    for condition in conditions:
        if void := str(summary["void"]):
            judged.append(Judgement(condition, UNKNOWN, f"the run is void: {void}"))
            continue
        if found := _PERCENTILE.fullmatch(condition.name):
            rows = run.measured
            times = rows.loc[rows["outcome"].isin([OK, UNSENT, UNANSWERED]), "from_due_ms"]
            low, high = quantile_interval(times, int(found[1]) / 100, 1 - (1 - CONFIDENCE) / len(conditions))
            why = f"from {low:,.1f} to {high:,.1f} ms" if not isnan(low) else f"too short: {len(times)} requests"
        else:
            low = high = float(str(summary[condition.name]))
            why = f"{low:,.2f}" if not isnan(low) else "unknown in this run"
        judged.append(Judgement(condition, condition.judge(low, high), why))
    return judged


def judge_comparison(comparison: Comparison, conditions: Sequence[Condition]) -> list[Judgement]:
    """Judge a comparison: each condition is about the ratio of a metric, the last variant's to the first's."""
    judged = []
    for condition in conditions:
        ratio = comparison.ratio(condition.name, confidence=1 - (1 - CONFIDENCE) / len(conditions))
        if ratio is None:
            why = comparison.verdict(condition.name)
            judged.append(Judgement(condition, UNKNOWN, why))
        else:
            judged.append(Judgement(condition, condition.judge(ratio.low, ratio.high), f"{ratio} times"))
    return judged


def exit_status(judged: Sequence[Judgement]) -> int:
    """1 if a condition is met, else 3 if one cannot be told, else 0."""
    verdicts = [each.verdict for each in judged]
    return next((EXIT_STATUS[each] for each in (MET, UNKNOWN) if each in verdicts), 0)


def quantile_interval(values: "pd.Series[float]", share: float, confidence: float) -> tuple[float, float]:
    """The interval of a quantile by order statistics, whatever the distribution; NaN if there are too few values."""
    ordered, count = values.sort_values().to_numpy(), len(values)
    below = (1 - confidence) / 2
    # How many of the values are below the quantile is binomial: its own quantiles are the ranks of the two ends.
    first, last = np.ceil(special.bdtrik([below, 1 - below], count, share)) if count else (0, 0)
    if not (first >= 1 and last <= count - 1):
        return nan, nan
    return float(ordered[int(first) - 1]), float(ordered[int(last)])


RUN_NAMES = (
    "requests_per_s", "refused_per_s", "failed_per_s", "unanswered_per_s", "unsent_per_s", "p50_ms", "p95_ms",
    "p99_ms", "server_us", "mongod_us", "server_cores",
)  # fmt: skip
COMPARISON_NAMES = tuple(METRICS)
