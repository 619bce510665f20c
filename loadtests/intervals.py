"""How sure a measured ratio is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 10_000
# With fewer pairs an interval is a first look, and nothing to quote.
ENOUGH_PAIRS = 6


@dataclass(frozen=True)
class Ratio:
    """A ratio of two settings with the ends of its 95 % interval, from so many `pairs` of rounds."""

    value: float
    low: float
    high: float
    pairs: int

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1, the ratio of equals."""
        return not self.low <= 1.0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def paired_ratio(base: Sequence[float], other: Sequence[float], seed: int = 0) -> Ratio:
    """How many times `base` is `other`, from values measured in pairs: the geometric mean of their ratios.

    The interval is the bootstrap percentile interval of the mean log-ratio, with the tails widened for
    few pairs: plain percentiles of n values are too narrow by sqrt((n-1)/n) and by the normal quantile
    standing in for Student's (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015,
    section 5.3). Raises `ValueError` for unpaired values, fewer than 2 pairs, or values not above 0.
    """
    values = np.array([*base, *other], dtype=float)
    pairs = len(base)
    if len(other) != pairs or pairs < 2 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"a ratio needs 2 or more pairs of values above 0, not {list(base)} and {list(other)}")
    logs = np.log(values[pairs:]) - np.log(values[:pairs])
    generator = np.random.default_rng(seed)
    means = generator.choice(logs, size=(RESAMPLES, pairs)).mean(axis=1)
    student = stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1)
    tail = stats.norm.cdf(-np.sqrt(pairs / (pairs - 1)) * student)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Ratio(float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high)), pairs)
