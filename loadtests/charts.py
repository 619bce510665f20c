"""Charts of runs, comparisons and capacities: units on the axes, uncertainty drawn, one colour for each variant."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loadtests.capacity import Capacity
from loadtests.capacity import ladder as rungs
from loadtests.comparison import METRICS, Comparison
from loadtests.described import Described
from loadtests.ingest import Run

# Okabe and Ito's palette: told apart by people with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#595959"
ROUNDED_DOWN = 1 - 1e-9  # a limit that is a label, but for its last digit
PART_SECONDS = 0.25  # rates are drawn for parts of a run: the notebooks' runs are short
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "figure.dpi": 110,
    "savefig.bbox": "tight",
}


def colours(variants: Sequence[str]) -> dict[str, str]:
    """The colour of each variant, the same in every chart of a comparison."""
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(variants)}


def figure(width: float = 7.0, height: float = 3.2) -> tuple[Figure, Axes]:
    """An empty figure in the lab's style; closed for pyplot, so that a notebook shows it once."""
    drawn, (axes,) = panels(1, 1, width, height)
    return drawn, axes


def panels(rows: int, columns: int, width: float, height: float, **shared: bool) -> tuple[Figure, Sequence[Axes]]:
    """The same with several parts, which may share an axis (`sharex`, `sharey`)."""
    with plt.rc_context(STYLE):
        drawn, parts = plt.subplots(
            rows, columns, figsize=(width, height), layout="constrained", squeeze=False, FigureClass=Described, **shared
        )
    plt.close(drawn)
    return drawn, list(parts.flat)


def rounds(comparison: Comparison, metric: str = "server_us") -> Figure:
    """Every round of a comparison: a dot a run, a line a pair, the medians in words. Void runs are crosses."""
    drawn, axes = figure(height=2.8)
    names = list(comparison.variants)
    good = comparison.values(metric)
    measured = comparison.rounds.pivot(index="round", columns="variant", values=metric)[names]
    positions = np.arange(len(names))
    for _, pair in good.iterrows():
        axes.plot(positions, pair, color="#cccccc", zorder=1)
    for position, (name, colour) in zip(positions, colours(names).items(), strict=True):
        axes.scatter([position] * len(good), good[name], color=colour, zorder=2, label=name)
        crossed = measured[name][good[name].isna()].dropna()
        axes.plot([position] * len(crossed), crossed, "x", color=GREY, zorder=2)
        if good[name].notna().any():
            axes.annotate(
                f" {good[name].median():,.0f}", (position, good[name].median()), xytext=(8, 0), color=colour,
                textcoords="offset points", va="center", weight="bold",
            )  # fmt: skip
    about = METRICS[metric]
    axes.set(xticks=positions, xticklabels=names, ylabel=f"{about.name}\n{about.unit}")
    axes.set_xlim(-0.5, len(positions) - 0.5)
    axes.set_ylim(bottom=0)
    void = int((good.isna() & measured.notna()).sum().sum())
    left_out = f"; crosses: {void} void runs, not counted" if void else ""
    axes.set_title(f"{about.name} in {len(good)} interleaved rounds; the number is the median{left_out}", loc="left")
    return drawn


def latency(comparison: Comparison) -> Figure:
    """What share of the successful requests was answered within a time of being due: all rounds that are not void."""
    drawn, axes = figure()
    for name, colour in colours(comparison.variants).items():
        folders = _not_void(comparison, name)
        answered = [Run(folder).measured for folder in folders]
        times = np.sort(np.concatenate([[], *(each.loc[each["outcome"] == "ok", "from_due_ms"] for each in answered)]))
        if len(times) == 0:
            continue
        shares = np.arange(1, len(times) + 1) / len(times) * 100
        axes.step(times, shares, color=colour, where="post", label=name)
        place = int(len(times) * (0.6 if name == comparison.variants[0] else 0.35))
        axes.annotate(f"  {name}", (times[place], shares[place]), color=colour, weight="bold", va="top")
    axes.set_xscale("log")
    axes.set(xlabel="latency, ms (logarithmic)", ylabel="requests answered, %", ylim=(0, 101))
    plain_ticks(axes)
    axes.set_title(f"latency of {comparison.load.title} by share of requests{_left_out(comparison)}", loc="left")
    return drawn


def throughput(comparison: Comparison) -> Figure:
    """The rate of successful and refused requests during a run: mean of the rounds, band from least to most."""
    drawn, axes = figure()
    for name, colour in colours(comparison.variants).items():
        folders = _not_void(comparison, name)
        for outcome, style in (("ok", "-"), ("refused", ":")) if folders else ():
            rates = pd.DataFrame([_rates(Run(folder).requests, outcome, comparison) for folder in folders])
            if rates.to_numpy().sum() == 0:
                continue
            seconds = rates.columns.to_numpy() + PART_SECONDS / 2
            label = name if outcome == "ok" else f"{name}, refused"
            axes.plot(seconds, rates.mean(), style, color=colour, label=label)
            axes.fill_between(seconds, rates.min(), rates.max(), color=colour, alpha=0.15, linewidth=0)
            axes.annotate(
                f" {label}", (seconds[-1], rates.mean().iloc[-1]), color=colour, weight="bold", va="center",
                annotation_clip=False,
            )  # fmt: skip
    axes.set(xlabel="time since the warm-up, s", ylabel="requests/s", xlim=(-comparison.load.warmup, None))
    axes.set_ylim(bottom=0)
    title = f"{comparison.load.title} during a run: mean and range of the rounds"
    axes.set_title(f"{title}{_left_out(comparison)}", loc="left")
    return drawn


def capacity(found: Capacity, colour: str = COLOURS[0]) -> Figure:
    """Throughput and latency against the rate that was offered, the limit of the SLO, and the capacity.

    `colour` is that of the variant in the charts beside it.
    """
    drawn, (upper, lower) = panels(2, 1, 7.0, 4.6, sharex=True)
    runs = found.runs.sort_values("rate")
    good, void = runs[runs["void"] == ""], runs[runs["void"] != ""]
    upper.plot([0, runs["rate"].max()], [0, runs["rate"].max()], color="#cccccc", linewidth=1)
    upper.plot(good["rate"], good["requests_per_s"], "o-", color=colour, label="answered")
    upper.set(ylabel="answered, requests/s")
    upper.set_title(str(found).replace(" (", "\n("), loc="left")
    lower.plot(good["rate"], good[found.slo.column], "o-", color=colour, label=f"p{found.slo.percentile}")
    lower.axhline(found.slo.milliseconds, color=GREY, linewidth=1)
    lower.annotate(
        f"SLO {found.slo.milliseconds:g} ms", (0, found.slo.milliseconds), xytext=(4, 2), textcoords="offset points",
        color=GREY, va="bottom",
    )  # fmt: skip
    lower.set_yscale("log")
    plain_ticks(lower, "y")
    lower.set(xlabel="offered, requests/s", ylabel=f"p{found.slo.percentile}\nfrom due time, ms")
    end = 1.05 * runs["rate"].max()
    for axes, column in ((upper, "requests_per_s"), (lower, found.slo.column)):
        axes.plot(void["rate"], void[column], "x", color=GREY)
        axes.axvspan(found.low, min(found.high, end), color=colour, alpha=0.12)
    lower.set_xlim(0, end)
    return drawn


def ladder(found: Mapping[str, Capacity]) -> Figure:
    """The capacity of each variant, from the rate that held to the one that did not, and what a request costs there.

    The cost is the server's (the variant's colour) and MongoDB's (grey) processor time, stacked. An arrow
    says that the service was never seen to fail.
    """
    table = rungs(found)
    drawn, (left, right) = panels(1, 2, 10.0, 0.45 * len(table) + 1.3, sharey=True)
    for row, ((name, each), colour) in enumerate(
        zip(table.iterrows(), colours(list(table.index)).values(), strict=True)
    ):
        left.plot(each["low"], row, "o", color=colour, label=f"{name}, held")
        if np.isfinite(each["high"]):
            left.plot([each["low"], each["high"]], [row, row], color=colour, linewidth=3, alpha=0.5)
            rate = f"{each['low']:,.0f} to {each['high']:,.0f}"
        else:
            left.plot(each["low"], row, ">", color=colour, markersize=11)
            rate = f"at least {each['low']:,.0f}"
        left.annotate(rate, (each["low"], row), xytext=(0, 7), textcoords="offset points", color=colour)
        right.barh(row, each["server_us"], 0.6, color=colour, label=f"{name}, server")
        right.barh(row, each["mongod_us"], 0.6, left=each["server_us"], color="#bbbbbb", label="MongoDB")
        runs = found[str(name)].at_capacity()
        right.plot(runs["server_us"], [row] * len(runs), "o", color="white", markeredgecolor=GREY, markersize=3.5)
    left.set(yticks=range(len(table)), yticklabels=table.index, ylim=(len(table) - 0.5, -0.7), xlabel="requests/s")
    ends = [float(each) for name in ("low", "high") for each in table[name] if np.isfinite(each)]
    left.set_xlim(0, 1.3 * max(1.0, *ends))  # with room for the words beside the last one
    left.set_title(f"capacity, {next(iter(found.values())).slo}", loc="left")
    right.set_xlabel("µs of processor time per request (grey: MongoDB)")
    right.set_title("what a request costs there (dots: single runs)", loc="left")
    right.grid(visible=False, axis="y")
    return drawn


def ratios(comparison: Comparison) -> Figure:
    """Each metric of the last variant as a multiple of the first's, with its 95 % interval."""
    drawn, axes = figure(height=0.45 * len(METRICS) + 1.2)
    base, other = comparison.variants[0], comparison.variants[-1]
    colour = colours(comparison.variants)[other]
    for row, metric in enumerate(METRICS):
        ratio = comparison.ratio(metric)
        if ratio is None:
            axes.text(0.02, row, comparison.verdict(metric), color=GREY, va="center", size="small",
                      transform=axes.get_yaxis_transform())  # fmt: skip
            continue
        shown = colour if ratio.differs else GREY
        axes.plot([ratio.low, ratio.high], [row, row], color=shown, linewidth=2)
        axes.plot(ratio.value, row, "o", color=shown, label=METRICS[metric].name)
        axes.annotate(f"{ratio.value:.2f}", (ratio.value, row), xytext=(0, 6), color=shown,
                      textcoords="offset points", ha="center")  # fmt: skip
    axes.axvline(1, color=GREY, linewidth=1)
    axes.set_xscale("log")
    plain_ticks(axes)
    axes.set(yticks=range(len(METRICS)), yticklabels=[about.name for about in METRICS.values()])
    axes.set_title(f"{other} beside {base}: ratios with their 95 % intervals", loc="left")
    axes.set(xlabel=f"{other} ÷ {base} (1 is no difference; grey: none shown)", ylim=(len(METRICS) - 0.5, -0.7))
    return drawn


def history(rows: pd.DataFrame) -> Figure:
    """Locust's history of any run (see `ingest.locust_history`): requests/s, and the median and p95 of latency."""
    drawn, (upper, lower) = panels(2, 1, 7.0, 4.6, sharex=True)
    names = list(dict.fromkeys(rows["name"]))
    for name, colour in colours(names).items():
        one = rows[rows["name"] == name]
        upper.plot(one["time_s"], one["requests_per_s"], color=colour, label=name)
        lower.plot(one["time_s"], one["p50_ms"], color=colour, label=f"{name}, median")
        lower.plot(one["time_s"], one["p95_ms"], ":", color=colour)
    upper.set(ylabel="requests/s")
    upper.set_ylim(bottom=0)
    upper.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    upper.set_title("requests/s and latency as Locust saw them", loc="left")
    lower.set(xlabel="time since the first row, s", ylabel="latency, ms\n(dotted: p95)")
    lower.set_ylim(bottom=0)
    return drawn


def plain_ticks(axes: Axes, which: Literal["x", "y"] = "x") -> None:
    """Label a logarithmic axis 1, 2, 5, 10, … (a short one 0.8, 0.9, 1, 2, …) instead of with powers.

    It ends at labels, so that there are always two, whatever was measured.
    """
    axis, limits = (axes.xaxis, axes.set_xlim) if which == "x" else (axes.yaxis, axes.set_ylim)
    low, high = axis.get_view_interval()
    steps = (1, 2, 5) if high > 8 * low else range(1, 10)
    limits(_next_step(low, steps, up=False), _next_step(high, steps, up=True))
    axis.set_major_locator(LogLocator(subs=steps, numticks=100))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.15g}"))
    axis.set_minor_formatter(NullFormatter())


def _next_step(value: float, steps: Sequence[int], *, up: bool) -> float:
    """The next number at or beyond `value` that a logarithmic axis with these `steps` labels."""
    decade = 10.0 ** math.floor(math.log10(value))
    labels = [step * size for size in (decade / 10, decade, 10 * decade) for step in steps]
    beyond = [each for each in labels if (each >= value * ROUNDED_DOWN if up else each <= value / ROUNDED_DOWN)]
    return float(min(beyond) if up else max(beyond))


def _not_void(comparison: Comparison, variant: str) -> list[Path]:
    rows = comparison.rounds
    return list(rows.loc[(rows["variant"] == variant) & (rows["void"] == ""), "folder"])


def _left_out(comparison: Comparison) -> str:
    void = int((comparison.rounds["void"] != "").sum())
    return f" ({void} void runs left out)" if void else ""


def _rates(requests: pd.DataFrame, outcome: str, comparison: Comparison) -> "pd.Series[float]":
    """Answers a second in each whole part of a run; the index is when the part began, in seconds."""
    rows = requests[requests["outcome"] == outcome]
    parts = (rows["sent_s"] + rows["from_send_ms"] / 1000).floordiv(PART_SECONDS).astype(int)
    whole = range(-int(comparison.load.warmup / PART_SECONDS), int(comparison.load.seconds / PART_SECONDS))
    rates = parts.value_counts().reindex(whole, fill_value=0) / PART_SECONDS
    return rates.set_axis(np.array(whole) * PART_SECONDS)
