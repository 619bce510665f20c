"""Figures that say in words what they show, for who cannot see them: made from what is drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryLocator
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

# More bars than these are told by their ends.
MOST_BARS = 12


class Described(Figure):
    """A figure that gives its alternative text to whatever shows it in a notebook."""

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"image/png": {"alt": alternative(self)}}


def alternative(figure: Figure) -> str:
    """What a figure shows, as text: of each part its title, its axes, and the values of what has a label."""
    return " ".join(_part(axes) for axes in figure.axes)


def _part(axes: Axes) -> str:
    title = axes.get_title(loc="left") or axes.get_title() or "A chart"
    named = [f"{what}: {label}" for what, label in (("x", axes.get_xlabel()), ("y", axes.get_ylabel())) if label]
    values = [
        f"{label}: {said}" for label, said in (*_points(axes), *_bars(axes)) if said and not label.startswith("_")
    ]
    return " ".join("; ".join([f"{title} ({'; '.join(named)})" if named else title, *values]).split()) + "."


def _points(axes: Axes) -> Iterator[tuple[str, str]]:
    """Each line and each cloud of dots: its label, and from where to where it goes along the axes that have numbers."""
    lines: list[tuple[object, Any]] = [(each.get_label(), (each.get_xdata(), each.get_ydata())) for each in axes.lines]
    clouds = [(each.get_label(), np.asarray(each.get_offsets()).T) for each in axes.collections]
    for label, along in [*lines, *clouds]:
        ends = {
            name: _ends(values)
            for name, axis, values in zip("xy", (axes.xaxis, axes.yaxis), along, strict=True)
            if not _names(axis)
        }
        yield str(label), ", ".join(f"{name} {said}" if len(ends) > 1 else said for name, said in ends.items() if said)


def _bars(axes: Axes) -> Iterator[tuple[str, str]]:
    """Each group of bars: its label, and their lengths, one by one if they are few."""
    for bars in axes.containers:
        if not isinstance(bars, BarContainer) or not bars.patches:
            continue
        across = bars.orientation == "horizontal"
        lengths = [each.get_width() if across else each.get_height() for each in bars.patches]
        names = _names(axes.yaxis if across else axes.xaxis)
        label = str(bars.get_label())
        if len(names) == len(lengths) <= MOST_BARS:
            yield label, ", ".join(f"{name} {_number(each)}" for name, each in zip(names, lengths, strict=True))
        else:
            yield label if not label.startswith("_") else str(bars.patches[0].get_label()), _ends(lengths)


def _ends(values: Any) -> str:
    numbers = np.asarray(values, dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return ""
    low, high = _number(numbers.min()), _number(numbers.max())
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _names(axis: Axis) -> list[str]:
    """The names along an axis, if it has names and no numbers."""
    named = isinstance(axis.get_major_locator(), FixedLocator | StrCategoryLocator)
    return [each.get_text() for each in axis.get_ticklabels()] if named else []
