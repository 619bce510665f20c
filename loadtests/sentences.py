"""What was measured, as a plain sentence for the front page of a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from loadtests.capacity import Capacity
from loadtests.comparison import Comparison
from loadtests.intervals import ENOUGH_PAIRS, Ratio

NUMBERS = ("", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# Below this a change is told in percent.
FEW_TIMES = 1.5
# From here on "six times" is near enough; the interval says how near.
WHOLE_TIMES = 2.75

# Of each metric: the word for less of it, for more of it, and what is counted.
CHANGES: Mapping[str, tuple[str, str, str]] = {
    "server_us": ("cheaper", "dearer", "µs of the server's time"),
    "mongod_us": ("cheaper", "dearer", "µs of MongoDB's time"),
    "p50_ms": ("faster", "slower", "ms until the answer (median)"),
    "p95_ms": ("faster", "slower", "ms until 95 % have their answer"),
    "p99_ms": ("faster", "slower", "ms until 99 % have their answer"),
}


@dataclass(frozen=True)
class Sentence:
    """A sentence about what was measured, or, if nothing can be `said`, why not."""

    text: str
    said: bool = True


def change(comparison: Comparison, metric: str, cause: str, what: str) -> Sentence:
    """What `cause` (the last variant) did to `what`, such as "the cache" to "a read", in a metric of CHANGES."""
    ratio = comparison.ratio(metric)
    if ratio is None:
        return Sentence(f"{comparison.verdict(metric)}.", said=False)
    less, more, unit = CHANGES[metric]
    medians = comparison.values(metric).median()
    before, after = _numbers(float(medians[comparison.variants[0]]), float(medians[comparison.variants[-1]]))
    first_look = "" if ratio.pairs >= ENOUGH_PAIRS else f"; a first look, from {ratio.pairs} pairs"
    if not comparison.differs(metric):
        said = f"{cause} made no difference to {what} that could be shown: {after} and {before} {unit}"
        why = "; not clear enough, as one of several metrics" if ratio.differs else ""
        return Sentence(f"{_capital(said)} [{ratio.low:.2f} to {ratio.high:.2f} times]{why}{first_look}.")
    said = (
        f"{cause} made {what} {_times(ratio)} {less if ratio.value < 1 else more}: {after} instead of {before} {unit}"
    )
    return Sentence(f"{_capital(said)} {_interval(ratio)}{first_look}.")


def capacities(found: Mapping[str, Capacity], what: str) -> Sentence:
    """How many of `what`, such as "reads", each variant takes a second within its objective."""
    if missing := [f"{name}: {each}" for name, each in found.items() if not each.low]:
        return Sentence("; ".join(missing) + ".", said=False)
    rates = [f"{'' if isfinite(each.high) else 'at least '}{each.low:,.0f} with {name}" for name, each in found.items()]
    slo = next(iter(found.values())).slo
    promise = f"{slo.percentile} % of them answered within {slo.milliseconds:g} ms"
    return Sentence(f"{_capital(', '.join(rates))}: {what} a second, {promise}.")


def _numbers(*values: float) -> list[str]:
    """The values with as many decimals as the smallest needs."""
    decimals = 0 if min(values) >= 10 else 1
    return [f"{value:,.{decimals}f}" for value in values]


def _times(ratio: Ratio) -> str:
    """By how much it differs, such as "six times" or "12 %"."""
    factor = max(ratio.value, 1 / ratio.value)
    if factor < FEW_TIMES:
        return f"{abs(ratio.value - 1):.0%}".replace("%", " %")
    if factor < WHOLE_TIMES:
        return f"{factor:.1f} times"
    whole = round(factor)
    return f"{NUMBERS[whole] if whole < len(NUMBERS) else whole} times"


def _interval(ratio: Ratio) -> str:
    """The ends of the interval, in the direction in which the sentence tells it."""
    factor = max(ratio.value, 1 / ratio.value)
    if factor < FEW_TIMES:
        ends = sorted(abs(end - 1) for end in (ratio.low, ratio.high))
        return f"[{ends[0]:.0%} to {ends[1]:.0%}]".replace("%", " %")
    ends = sorted((ratio.low, ratio.high) if ratio.value > 1 else (1 / ratio.low, 1 / ratio.high))
    return f"[{ends[0]:.1f} to {ends[1]:.1f} times]"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
