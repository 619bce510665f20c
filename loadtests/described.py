"""Figures that say in words what they show, for who cannot see them: made from what is drawn."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
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
    values = [f"{label}: {_values(shown)}" for label, shown in _series(axes) if len(shown)]
    said = [f"{title} ({'; '.join(named)})" if named else title, *values]
    return " ".join("; ".join(said).split()) + "."


def _values(shown: Iterable[tuple[str, float]]) -> str:
    """Few bars one by one, by their names; much else by its ends."""
    shown = list(shown)
    if all(name for name, _ in shown) and len(shown) <= MOST_BARS:
        return ", ".join(f"{name} {_number(value)}" for name, value in shown)
    numbers = [value for _, value in shown]
    low, high = _number(min(numbers)), _number(max(numbers))
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _series(axes: Axes) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """The label of each line, cloud of dots and group of bars, and its values: (name of the value or "", value)."""
    ticks = _named_ticks(axes)
    for line in axes.lines:
        yield from _labelled(line.get_label(), np.column_stack([line.get_xdata(), line.get_ydata()]), ticks)
    for dots in axes.collections:
        yield from _labelled(dots.get_label(), np.asarray(dots.get_offsets()), ticks)
    for bars in axes.containers:
        if isinstance(bars, BarContainer) and not str(bars.get_label()).startswith("_"):
            lengths = [bar.get_width() if ticks else bar.get_height() for bar in bars.patches]
            names = list(ticks) if len(ticks) == len(lengths) else [""] * len(lengths)
            yield str(bars.get_label()), list(zip(names, map(float, lengths), strict=True))


def _labelled(label: object, points: Any, ticks: list[str]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """A line or dots, unless they only decorate. Where the y axis has names, the values are on the x axis."""
    if str(label).startswith("_") or not len(points):
        return
    along = points[:, 0 if ticks else 1].astype(float)
    yield str(label), [("", float(value)) for value in along[np.isfinite(along)]]


def _named_ticks(axes: Axes) -> list[str]:
    """The names along the y axis, if it has names and no numbers."""
    named = isinstance(axes.yaxis.get_major_locator(), (FixedLocator, StrCategoryLocator))
    return [each.get_text() for each in axes.get_yticklabels()] if named else []
