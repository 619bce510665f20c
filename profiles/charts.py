"""Charts of profiles. Each can be shown in a notebook, or kept with `figure.savefig("name.svg")`."""

import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import SVG
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.charts import COLOURS, GREY, colours, figure
from loadtests.described import alternative
from profiles import stacks
from profiles.experiment import Profiles

# A part of a bar that is narrower has no room for its number, in percent of the axis.
NARROW = 6


def where_time_goes(profiles: Profiles) -> Figure:
    """Processor time for each request by category: a bar for each variant, a dot for each round."""
    table = profiles.table().fillna(0.0)
    drawn, axes = figure(height=0.42 * len(table) + 1.2)
    for name, at in _bars(axes, table, profiles.variants):
        rounds = profiles.breakdown[profiles.breakdown["variant"] == name]
        place_of = dict(zip(table.index, at, strict=True))
        shown = rounds[rounds["category"].isin(table.index)]
        axes.plot(shown["us_per_request"], shown["category"].map(place_of), "o", color="white", markeredgecolor=GREY,
                  markersize=3.5)  # fmt: skip
    axes.set_xlabel("processor time of the server, µs per request")
    axes.set_title(f"where the server's time goes, {profiles.load.title} (dots: single rounds)", loc="left")
    return drawn


def _bars(axes: Axes, table: pd.DataFrame, variants: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Draw the table's columns as bars beside each other, a group for each row; returns where each column's are."""
    thickness = 0.8 / len(variants)
    places = np.arange(len(table))
    drawn = []
    for number, (name, colour) in enumerate(colours(variants).items()):
        at = places + (number - (len(variants) - 1) / 2) * thickness
        axes.barh(at, table[name], thickness, color=colour, label=name)
        drawn.append((name, at))
    axes.set(yticks=places, yticklabels=table.index)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawn


def running_or_waiting(profiles: Profiles) -> Figure:
    """What share of the clock the server ran Python, was in system calls, or waited."""
    shares = profiles.shares() * 100
    drawn, axes = figure(height=0.5 * len(profiles.variants) + 1.2)
    left = np.zeros(len(profiles.variants))
    for kind, shade in zip(shares.index, ("#404040", "#a0a0a0", "#e6e6e6"), strict=True):
        widths = shares.loc[kind].to_numpy()
        axes.barh(list(profiles.variants), widths, left=left, color=shade, label=kind)
        for row, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width >= NARROW:
                axes.text(start + width / 2, row, f"{width:.0f} %", ha="center", va="center", size="small",
                          color="white" if shade == "#404040" else "black")  # fmt: skip
        left += widths
    axes.set(xlabel="share of the clock, %", xlim=(0, 100))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title(f"what the server does with its time, {profiles.load.title}", loc="left")
    axes.grid(visible=False)
    axes.invert_yaxis()
    return drawn


def waits(profiles: Profiles) -> Figure:
    """How many threads of the server waited at a time, and for what."""
    table = profiles.waiting()
    drawn, axes = figure(height=0.5 * len(table) + 1.0)
    _bars(axes, table, profiles.variants)
    axes.set_xlabel("threads that waited at a time, mean")
    axes.set_title(f"what the server's threads wait for, {profiles.load.title}", loc="left")
    return drawn


def svg(drawn: Figure) -> SVG:
    """A figure for a notebook as SVG: sharp at any size, and its words can be searched for in the report."""
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):
        drawn.savefig(text, format="svg")
    return SVG(text.getvalue(), metadata={"alt": alternative(drawn)})


def icicle(profiles: Profiles, variant: str | None = None) -> Figure:
    """Every call of a variant (the last if None): as wide as the time it takes for a request; callees below callers."""
    name = variant or profiles.variants[-1]
    tree = _calls(profiles, name)
    palette = dict(zip(stacks.ORDER, [*COLOURS[:6], "#F0E442", "#999999", "#cccccc"], strict=True))
    drawn = _icicle(tree, lambda call: palette[stacks.category(";".join(call.path))])
    drawn.axes[0].set_title(f"Python's time for each request, {profiles.load.title}, {name}", loc="left")
    return drawn


def difference(profiles: Profiles, *, reverse: bool = False) -> Figure:
    """The calls of the last variant, red where they take longer than in the first and blue where less.

    What vanished is not among them: `reverse` draws the calls of the first variant, in which it is.
    """
    base, other = profiles.variants[0], profiles.variants[-1]
    shown = base if reverse else other
    tree = _calls(profiles, shown, compared=(base, other))
    largest = max((abs(call.change) for call in tree), default=0.0) or 1.0
    scale = colormaps["RdBu_r"]
    drawn = _icicle(tree, lambda call: scale(0.5 + 0.5 * call.change / largest))
    drawn.axes[0].set_title(
        f"calls of {shown}; red: longer in {other} than in {base}, blue: shorter (up to {largest:,.0f} µs)", loc="left"
    )
    return drawn


Path = tuple[str, ...]


@dataclass(frozen=True)
class _Call:
    """A rectangle: the functions from the outermost to this one, where it begins, and µs for each request."""

    path: Path
    left: float
    width: float
    change: float = 0.0


def _calls(profiles: Profiles, variant: str, compared: tuple[str, str] | None = None) -> list[_Call]:
    """The calls of a variant; with the change from the first to the second of `compared`."""
    widths = _inclusive(profiles, variant)
    before, after = [_inclusive(profiles, each) for each in compared] if compared else ({}, {})
    callees: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(widths):
        callees[path[:-1]].append(path)

    def below(path: Path, left: float) -> Iterator[_Call]:
        for callee in callees[path]:
            change = after.get(callee, 0.0) - before.get(callee, 0.0)
            yield _Call(callee, left, widths[callee], change)
            yield from below(callee, left)
            left += widths[callee]

    return list(below((), 0.0))


def _inclusive(profiles: Profiles, variant: str) -> dict[Path, float]:
    """µs for each request of each call with all it calls, mean of the rounds."""
    rows = profiles.stacks[profiles.stacks["variant"] == variant]
    found: dict[Path, float] = defaultdict(float)
    for stack, microseconds in zip(rows["stack"], rows["us_per_request"], strict=True):
        frames = tuple(stack.split(";"))
        for depth in range(1, len(frames) + 1):
            found[frames[:depth]] += microseconds / rows["round"].nunique()
    return found


def _icicle(tree: list[_Call], colour: Callable[[_Call], Any]) -> Figure:
    """Draw the calls; those too narrow to see, and the outermost ones that all stacks share, are left out."""
    total = max((call.left + call.width for call in tree), default=1.0)
    wide = [call for call in tree if call.width > total / 300]
    skipped = max((len(call.path) for call in wide if call.width > 0.999 * total), default=1) - 1
    wide = [call for call in wide if len(call.path) > skipped]
    depth = max((len(call.path) for call in wide), default=1) - skipped
    drawn, axes = figure(width=10.0, height=0.22 * depth + 1.0)
    for call in wide:
        row = len(call.path) - 1 - skipped
        name = call.path[-1].partition(" (")[0]
        label = name if call.width > total / 5 else None
        axes.barh(
            row, call.width, 1.0, left=call.left, color=colour(call), edgecolor="white", linewidth=0.4, label=label
        )
        fits = int(call.width / total * 130)
        if fits >= 4:
            text = name if len(name) <= fits else name[: fits - 1] + "…"
            axes.text(call.left + call.width / 2, row, text, ha="center", va="center", size=6, clip_on=True)
    axes.set(xlabel="µs per request", yticks=[], xlim=(0, total), ylim=(depth - 0.5, -0.5))
    axes.grid(visible=False)
    return drawn
