"""How sure a measured ratio or difference is: Student's intervals of paired rounds, and Holm's correction."""

import functools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy import special

CONFIDENCE = 0.95
# A change is called visible that would be found 4 times in 5.
POWER = 0.8
# With fewer pairs an interval is a first look, and nothing to quote.
ENOUGH_PAIRS = 6
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Ratio:
    """A ratio of two settings with the ends of its 95 % interval, from so many `pairs` of rounds.

    `visible` is the smallest change that as many rounds, scattered as these, would show 4 times in 5: 0.05 is 5 %. It
    is NaN where that many pairs cannot say. `p` is the probability of such a ratio, or a more distant one, of equals.
    """

    value: float
    low: float
    high: float
    pairs: int
    visible: float
    p: float = float("nan")

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1, the ratio of equals."""
        return not self.low <= 1.0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Difference:
    """A mean difference with the ends of its 95 % interval; `p` as in `Ratio`."""

    value: float
    low: float
    high: float
    p: float = float("nan")

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 0, the difference of equals."""
        return not self.low <= 0.0 <= self.high


def paired_ratio(base: Sequence[float], other: Sequence[float], confidence: float = CONFIDENCE) -> Ratio:
    """How many times `base` is `other`, from values measured in pairs: the geometric mean of their ratios.

    The interval is Student's for the mean of the log-ratios: of equals it excludes 1 in 5 % of cases from any number of
    pairs (`false_alarms` shows it), which no bootstrap of a few pairs does. Raises `ValueError` for unpaired values,
    fewer than 2 pairs, or values not above 0.
    """
    values = np.array([*base, *other], dtype=float)
    pairs = len(base)
    if len(other) != pairs or pairs < 2 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"a ratio needs 2 or more pairs of values above 0, not {list(base)} and {list(other)}")
    logs = np.log(values[pairs:]) - np.log(values[:pairs])
    mean, reach, p = _student(logs, confidence)
    with np.errstate(over="ignore"):
        low, high = np.exp(mean - reach), np.exp(mean + reach)
        visible = float(np.expm1(_visible_errors(pairs) * _standard_error(logs))) if pairs > 2 else np.nan
    return Ratio(float(np.exp(mean)), float(low), float(high), pairs, visible, p)


def paired_difference(base: Sequence[float], other: Sequence[float]) -> Difference:
    """By how much `other` exceeds `base`, from values measured in pairs, with Student's interval of the mean.

    The whole line is the interval of a single pair. Raises `ValueError` for unpaired values or none.
    """
    if len(base) != len(other) or not len(base):
        raise ValueError(f"a difference needs values in pairs, not {list(base)} and {list(other)}")
    differences = np.array(other, dtype=float) - np.array(base, dtype=float)
    if len(differences) == 1:
        return Difference(float(differences[0]), -np.inf, np.inf, 1.0)
    mean, reach, p = _student(differences)
    return Difference(mean, mean - reach, mean + reach, p)


def holm(probabilities: Mapping[Key, float]) -> dict[Key, bool]:
    """Which of several questions may be called answered, so that in 95 % of cases none of them is wrongly.

    Holm's method: the smallest of m probabilities is compared with 5 % / m, the next with 5 % / (m - 1), and so on
    until one is larger. NaN is no answer, and no question.
    """
    asked = sorted(((p, key) for key, p in probabilities.items() if not np.isnan(p)), key=lambda each: each[0])
    answered = dict.fromkeys(probabilities, False)
    for number, (p, key) in enumerate(asked):
        if p > (1 - CONFIDENCE) / (len(asked) - number):
            break
        answered[key] = True
    return answered


def false_alarms(
    pairs: Sequence[int] = range(2, 13), comparisons: int = 4000, scatter: float = 0.05, seed: int = 1
) -> pd.DataFrame:
    """Simulate comparisons, by the number of pairs: how often equals are called different, and a change is found.

    Columns: pairs, false_alarms (share of comparisons of equals, in rounds scattered by `scatter`), found_visible
    (share of comparisons that find a change as large as the `visible` of the comparison before them).
    """
    generator = np.random.default_rng(seed)
    rows = []
    for count in pairs:
        noise = np.exp(generator.normal(0.0, scatter, size=(comparisons, 2, count)))
        equals = [paired_ratio(base, other) for base, other in noise]
        # Each time another comparison, of a true change as large as one was told to be visible.
        changed = [
            paired_ratio(base, other * (1 + before.visible)).differs
            for (base, other), before in zip(np.roll(noise, 1, axis=0), equals, strict=True)
            if not np.isnan(before.visible)
        ]
        found = float(np.mean(changed)) if changed else np.nan
        wrong = float(np.mean([each.differs for each in equals]))
        rows.append({"pairs": count, "false_alarms": wrong, "found_visible": found})
    return pd.DataFrame(rows)


def _student(
    values: "np.ndarray[tuple[int], np.dtype[np.float64]]", confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """The mean, how far its interval reaches to either side, and the probability that it is so far from 0."""
    degrees, mean, error = len(values) - 1, float(values.mean()), _standard_error(values)
    reach = float(special.stdtrit(degrees, (1 + confidence) / 2)) * error
    if not error:
        return mean, 0.0, 0.0 if mean else 1.0
    return mean, reach, float(2 * special.stdtr(degrees, -abs(mean) / error))


def _standard_error(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    # Values that are equal but for the last bits of a logarithm have no scatter.
    scatter = float(values.std(ddof=1))
    return scatter / np.sqrt(len(values)) if scatter > 1e-12 else 0.0


@functools.cache
def _visible_errors(pairs: int) -> float:
    """How many standard errors, as estimated from `pairs`, a change must be for as many pairs to find it 4 times in 5.

    Both the estimate and the comparison that is to find the change vary: the power is the mean over both.
    """
    from scipy import optimize  # takes as long to import as all else here together, and only comparisons need it

    degrees = pairs - 1
    limit = special.stdtrit(degrees, (1 + CONFIDENCE) / 2)
    # Equally probable values of a standard deviation as it is estimated, for a true one of 1: roots of chi-squared.
    estimates = np.sqrt(2 * special.gammaincinv(degrees / 2, (np.arange(400) + 0.5) / 400) / degrees)

    def power(errors: float) -> float:
        change = errors * estimates[:, None]
        reached = limit * estimates[None, :]
        return float((special.ndtr(change - reached) + special.ndtr(-reached - change)).mean())

    return float(optimize.brentq(lambda errors: power(errors) - POWER, 1.0, 1000.0, xtol=1e-4))
