"""A chart of what clients saw: acknowledged writes over time, and what happened meanwhile."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from loadtests.charts import COLOURS, GREY, figure
from practice.outages.history import ACKNOWLEDGED, History

# A run is drawn in so many parts, none of them shorter than this.
PARTS = 80
PART_SECONDS = 0.1


def writes(history: History, marks: Mapping[str, float]) -> Figure:
    """Acknowledged writes a second over time; `marks` names moments on the clock of the history."""
    began = min(each.began for each in history.post)
    times = np.array([each.ended - began for each in history.post if each.outcome == ACKNOWLEDGED])
    part = max(PART_SECONDS, times.max() / PARTS)
    counts, edges = np.histogram(times, np.arange(0.0, times.max() + part, part))
    drawn, axes = figure()
    axes.stairs(counts / part, edges, fill=True, color=COLOURS[0])
    top = float(counts.max()) / part
    for number, (name, moment) in enumerate(marks.items()):
        axes.axvline(moment - began, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(
            name,
            (moment - began, top * (1.2 - 0.1 * number)),
            (4, 0),  # points beside the line, which the background would cover
            textcoords="offset points",
            color=GREY,
            va="top",
            annotation_clip=False,
            bbox={"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 1},  # the next line may be behind it
        )
    axes.set(xlabel="time (s)", ylabel="acknowledged writes\n(1/s)", xlim=(0, edges[-1]), ylim=(0, top * 1.25))
    axes.set_title("Acknowledged writes while the primary is killed", loc="left")
    return drawn
