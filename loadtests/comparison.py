"""The result of a comparison: paired ratios with their intervals, and what may be said of them in words."""

from dataclasses import dataclass, field
from math import isnan
from typing import Any

import pandas as pd

from loadtests.intervals import CONFIDENCE, ENOUGH_PAIRS, Ratio, holm, paired_ratio
from loadtests.run import Load


@dataclass(frozen=True)
class Metric:
    """A column of a comparison: what it is called, its unit, and whether a busy load generator spoils it."""

    name: str
    unit: str
    spoilt_by_generator: bool = True


# The first holds even when the load generator is the limit. Latency is from when a request was due.
METRICS = {
    "server_us": Metric("server CPU", "µs per request", spoilt_by_generator=False),
    "mongod_us": Metric("mongod CPU", "µs per request", spoilt_by_generator=False),
    "requests_per_s": Metric("throughput", "requests/s"),
    "p50_ms": Metric("median latency", "ms"),
    "p95_ms": Metric("95th percentile of latency", "ms"),
    "p99_ms": Metric("99th percentile of latency", "ms"),
}

# The metric that is asked about unless another is named.
ASKED = "server_us"


@dataclass(frozen=True)
class Comparison:
    """What the rounds of a comparison measured.

    `rounds` has a row for each round and variant: round (from 1), variant, folder, and the columns of
    `summarize`. The first of `variants` is what the others are compared with. `asked` is the metric for whose sake the
    comparison was made: of equals, it is called different in 5 % of comparisons. All other metrics are looked at as
    well, and of equals in 5 % of comparisons one of them is called different (Holm's correction, so each has to differ
    more clearly); so it is with several variants.
    """

    load: Load
    variants: tuple[str, ...]
    rounds: pd.DataFrame = field(repr=False)
    asked: str = ASKED

    def values(self, metric: str) -> pd.DataFrame:
        """A metric with a row for each round and a column for each variant; void values are missing."""
        reasons = "void" if METRICS[metric].spoilt_by_generator else "lost"
        rows = self.rounds.assign(**{metric: self.rounds[metric].where(self.rounds[reasons] == "")})
        return rows.pivot(index="round", columns="variant", values=metric).reindex(columns=list(self.variants))

    def ratio(self, metric: str, variant: str | None = None, confidence: float = CONFIDENCE) -> Ratio | None:
        """How many times the first variant's value `variant`'s is; None if too few rounds can tell."""
        base, other = self.variants[0], variant or self.variants[-1]
        pairs = self.values(metric)[[base, other]].dropna()
        pairs = pairs[(pairs > 0).all(axis=1)]
        if len(pairs) < 2:
            return None
        return paired_ratio(pairs[base].tolist(), pairs[other].tolist(), confidence)

    def is_less(self, metric: str, variant: str | None = None) -> bool:
        """Whether the whole interval of the ratio is below 1; not so if too few rounds can tell."""
        ratio = self.ratio(metric, variant)
        return ratio is not None and ratio.high < 1

    def differs(self, metric: str, variant: str | None = None) -> bool:
        """Whether the rounds show a difference in a metric, after correction for how many were looked at."""
        together = [metric] if metric == self.asked else [each for each in METRICS if each != self.asked]
        ratios = {
            (each, other): ratio
            for each in together
            for other in self.variants[1:]
            if each in self.rounds and (ratio := self.ratio(each, other)) is not None
        }
        wanted = (metric, variant or self.variants[-1])
        return holm({key: ratio.p for key, ratio in ratios.items()}).get(wanted, False)

    def verdict(self, metric: str, variant: str | None = None) -> str:
        """What the rounds allow to be said, as one sentence."""
        base, other = self.variants[0], variant or self.variants[-1]
        about = METRICS[metric]
        ratio = self.ratio(metric, variant)
        if ratio is None:
            return f"{about.name}: not quoted, {self._why_void()}"
        if not self.differs(metric, variant):
            why = "not clear enough, as one of several metrics" if ratio.differs else _would_show(ratio)
            said = f"{about.name}: no difference shown between {base} and {other} ({ratio}; {why})"
        else:
            said = f"{about.name}: {other} is {ratio} times {base}"
        return said if ratio.pairs >= ENOUGH_PAIRS else f"{said}; a first look, from {ratio.pairs} pairs"

    def evidence(self, metric: str) -> str:
        """What a verdict rests on, as one sentence."""
        ratio = self.ratio(metric)
        if ratio is None:
            return f"not at all: {self._why_void()}"
        void = int((self.rounds["void"] != "").sum())
        return (
            f"{ratio.pairs} pairs of runs in turns, each on new servers; {void} of {len(self.rounds)} runs are void; "
            f"a change in {METRICS[metric].name}: {_would_show(ratio)}, 4 times in 5"
        )

    def table(self) -> pd.DataFrame:
        """A row for each metric: the median of each variant, the ratio with its interval, the verdict.

        Beside the ratio stands the smallest change that these rounds would have shown (4 times in 5).
        """
        rows = []
        for metric, about in METRICS.items():
            ratio = self.ratio(metric)
            rows.append(
                {
                    "metric": f"{about.name}, {about.unit}",
                    **{name: f"{median:,.1f}" for name, median in self.values(metric).median().items()},
                    "ratio [95 % interval]": str(ratio or "–"),
                    "would show": f"{ratio.visible:.0%}" if ratio and not isnan(ratio.visible) else "–",
                    "verdict": self.verdict(metric),
                }
            )
        return pd.DataFrame(rows).set_index("metric")

    def document(self) -> dict[str, Any]:
        """The same for programs: of each metric the medians, the ratio with its interval, and the verdict."""
        metrics = {}
        for metric in METRICS:
            ratio = self.ratio(metric)
            medians = {name: float(median) for name, median in self.values(metric).median().items()}
            said: dict[str, Any] = {"medians": {k: None if isnan(v) else v for k, v in medians.items()}, "ratio": None}
            if ratio is not None:
                ends = {"ratio": ratio.value, "low": ratio.low, "high": ratio.high, "p": ratio.p, "pairs": ratio.pairs}
                said |= ends | {"differs": self.differs(metric)}
            metrics[metric] = said | {"verdict": self.verdict(metric)}
        void = sorted(set(self.rounds["void"]) - {""})
        return {"variants": list(self.variants), "asked": self.asked, "metrics": metrics, "void": void}

    def _why_void(self) -> str:
        void = self.rounds[self.rounds["void"] != ""]
        if void.empty:
            return "there is nothing to compare"
        return f"{len(void)} of {len(self.rounds)} runs are void ({void['void'].iloc[0]})"


def _would_show(ratio: Ratio) -> str:
    """Which change would have been shown, in words."""
    if isnan(ratio.visible):
        return f"{ratio.pairs} pairs cannot say what would have been"
    return f"one of {ratio.visible:.0%} would have been"
