"""How sure a measured ratio is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 10_000
# A change is called visible that would be found 4 times in 5.
POWER = 0.8
# With fewer pairs an interval is a first look, and nothing to quote.
ENOUGH_PAIRS = 6


@dataclass(frozen=True)
class Ratio:
    """A ratio of two settings with the ends of its 95 % interval, from so many `pairs` of rounds.

    `visible` is the smallest change that pairs as scattered as these would show 4 times in 5: 0.05 is 5 %.
    """

    value: float
    low: float
    high: float
    pairs: int
    visible: float

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1, the ratio of equals."""
        return not self.low <= 1.0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Difference:
    """A mean difference with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 0, the difference of equals."""
        return not self.low <= 0.0 <= self.high


def paired_ratio(base: Sequence[float], other: Sequence[float], seed: int = 0) -> Ratio:
    """How many times `base` is `other`, from values measured in pairs: the geometric mean of their ratios.

    The interval is that of `_mean_interval` for the log-ratios. Raises `ValueError` for unpaired values,
    fewer than 2 pairs, or values not above 0.
    """
    values = np.array([*base, *other], dtype=float)
    pairs = len(base)
    if len(other) != pairs or pairs < 2 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"a ratio needs 2 or more pairs of values above 0, not {list(base)} and {list(other)}")
    logs = np.log(values[pairs:]) - np.log(values[:pairs])
    low, high = _mean_interval(logs, seed)
    # The usual power of a paired t-test, on the scale of logarithms.
    needed = stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1) + stats.t.ppf(POWER, pairs - 1)
    visible = float(np.expm1(needed * logs.std(ddof=1) / np.sqrt(pairs)))
    return Ratio(float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high)), pairs, visible)


def paired_difference(base: Sequence[float], other: Sequence[float]) -> Difference:
    """By how much `other` exceeds `base`, from values measured in pairs, with Student's interval of the mean.

    No bootstrap here: of the two or three values a profile has, it cannot reach beyond the outermost.
    The whole line is the interval of a single pair. Raises `ValueError` for unpaired values or none.
    """
    if len(base) != len(other) or not len(base):
        raise ValueError(f"a difference needs values in pairs, not {list(base)} and {list(other)}")
    differences = np.array(other, dtype=float) - np.array(base, dtype=float)
    mean, pairs = float(differences.mean()), len(differences)
    if pairs == 1:
        return Difference(mean, -np.inf, np.inf)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1) * differences.std(ddof=1) / np.sqrt(pairs)
    return Difference(mean, float(mean - reach), float(mean + reach))


def _mean_interval(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", seed: int) -> tuple[float, float]:
    """The bootstrap percentile interval of the mean, with its tails widened for few values.

    Plain percentiles of n values are too narrow by sqrt((n-1)/n), and by the normal quantile standing in
    for Student's (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 5.3).
    """
    count = len(values)
    means = np.random.default_rng(seed).choice(values, size=(RESAMPLES, count)).mean(axis=1)
    student = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    tail = stats.norm.cdf(-np.sqrt(count / (count - 1)) * student)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
