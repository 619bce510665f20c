"""Charts of what was measured, for the page: places on an axis in percent of its width, and words beside them."""

import math
from dataclasses import dataclass

from practice.findings import us
from practice.measured import OURS, YOURS, Capacity, Measured

# Okabe and Ito's blue and vermilion, as in all charts of the lab.
COLOURS = {YOURS: "#0072b2", OURS: "#d55e00"}
# An end that was never found is drawn this many times as far up as the other, or at the end of the axis.
OPEN_END = 1.6
# A bar that is thinner cannot be seen.
THINNEST = 0.8


@dataclass(frozen=True)
class Bar:
    """A bar from `x`, `width` wide (% of the axis); `open` if it has no end. `words` are its value."""

    name: str
    colour: str
    x: float
    width: float
    words: str
    open: bool = False


@dataclass(frozen=True)
class Chart:
    """Bars in groups, by heading, on one axis with `ticks`: (% of the axis, label)."""

    groups: dict[str, list[Bar]]
    ticks: list[tuple[float, str]]


def capacities(measured: Measured) -> Chart:
    """The capacity of each scenario, yours and the lab's, from what held to what did not, on a logarithmic axis."""
    found = [each for pair in measured.capacities.values() for each in pair.values() if each.low]
    rates = [rate for each in found for rate in (each.low, each.high) if rate] or [1.0, 10.0]
    first, last = math.floor(math.log10(min(rates))), math.ceil(math.log10(1.01 * max(rates)))
    decades = max(1, last - first)

    def place(rate: float) -> float:
        return 100 * (math.log10(rate) - first) / decades

    def bar(name: str, capacity: Capacity) -> Bar:
        if not capacity.low:
            return Bar(name, COLOURS[name], 0.0, 0.0, str(capacity))
        x, end = place(capacity.low), place(capacity.high or OPEN_END * capacity.low)
        width = min(100.0 - x, max(THINNEST, end - x))
        return Bar(name, COLOURS[name], round(x, 2), round(width, 2), str(capacity), open=not capacity.high)

    groups = {
        scenario: [bar(name, pair[name]) for name in (YOURS, OURS)] for scenario, pair in measured.capacities.items()
    }
    ticks = [(100 * step / decades, f"{10 ** (first + step):,g}") for step in range(decades + 1)]
    return Chart(groups, ticks)


def where(measured: Measured) -> Chart:
    """The parts of the time of one read, µs, on an axis that begins at 0."""
    longest = max(measured.where.parts.values(), default=0.0) or 1.0
    bars = [
        Bar(what, COLOURS[YOURS], 0.0, round(max(THINNEST, 100 * spent / longest), 2), f"{us(spent)} µs")
        for what, spent in measured.where.parts.items()
    ]
    return Chart({"": bars}, [])
