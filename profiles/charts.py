"""Where the time goes, as figures."""

import numpy as np
from matplotlib.figure import Figure

from loadtests.charts import GREY, colours, figure
from profiles.experiment import Profiles


def where_time_goes(profiles: Profiles) -> Figure:
    """Processor time for each request by category: a bar for each variant, a dot for each round."""
    table = profiles.table().fillna(0.0)
    drawn, axes = figure(height=0.42 * len(table) + 1.2)
    thickness = 0.8 / len(profiles.variants)
    places = np.arange(len(table))
    for number, (name, colour) in enumerate(colours(profiles.variants).items()):
        at = places + (number - (len(profiles.variants) - 1) / 2) * thickness
        axes.barh(at, table[name], thickness, color=colour, label=name)
        rounds = profiles.breakdown[profiles.breakdown["variant"] == name]
        place_of = dict(zip(table.index, at, strict=True))
        shown = rounds[rounds["category"].isin(table.index)]
        axes.plot(shown["us_per_request"], shown["category"].map(place_of), "o", color="white", markeredgecolor=GREY,
                  markersize=3.5)  # fmt: skip
    axes.set(yticks=places, yticklabels=table.index, xlabel="processor time of the server, µs per request")
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title(f"where the server's time goes, {profiles.load.scenario} (dots: single rounds)", loc="left")
    return drawn


def running_or_waiting(profiles: Profiles) -> Figure:
    """What share of the clock the server ran Python, was in system calls, or waited."""
    shares = profiles.shares() * 100
    drawn, axes = figure(height=0.5 * len(profiles.variants) + 1.2)
    left = np.zeros(len(profiles.variants))
    for kind, shade in zip(shares.index, ("#0072B2", "#56B4E9", "#e6e6e6"), strict=True):
        widths = shares.loc[kind].to_numpy()
        axes.barh(list(profiles.variants), widths, left=left, color=shade)
        for row, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width > 8:
                axes.text(start + width / 2, row, f"{kind}\n{width:.0f} %", ha="center", va="center", size="small",
                          color="white" if shade == "#0072B2" else "black")  # fmt: skip
        left += widths
    axes.set(xlabel="share of the clock, %", xlim=(0, 100))
    axes.grid(visible=False)
    axes.invert_yaxis()
    return drawn
