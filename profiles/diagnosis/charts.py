"""The time budget as a chart."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from loadtests.charts import figure
from profiles.diagnosis.budget import PARTS, Budget

LEFT_OVER = "#dddddd"
# Blue for the server, green and yellow for what lies around MongoDB, red for MongoDB itself, grey for the callers.
SHADES = (
    "#999999", "#56B4E9", "#0072B2", "#CC79A7", "#E69F00", "#F0E442", "#009E73", "#F4A582", "#D55E00", "#8FD3B6",
    "#A6CEE3", "#555555",
)  # fmt: skip


def budgets(of: Mapping[str, Budget]) -> Figure:
    """Where a request's time goes, a bar for each budget: its parts as shares, and what is left over in grey."""
    drawn, axes = figure(height=0.55 * len(of) + 2.2)
    rows, left = range(len(of)), np.zeros(len(of))
    for name, shade in zip(PARTS, SHADES, strict=True):
        shares = np.array([100 * max(0.0, each.parts.get(name, 0.0)) / each.total_ms for each in of.values()])
        axes.barh(rows, shares, left=left, color=shade, label=name)
        left += shares
    axes.barh(rows, np.maximum(0.0, 100 - left), left=left, color=LEFT_OVER, label="left over")
    axes.set(xlabel="share of the time from due to answered, %", xlim=(0, 100))
    axes.set(yticks=range(len(of)), yticklabels=[f"{name}, {each.total_ms:.1f} ms" for name, each in of.items()])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title("where a request's time goes", loc="left")
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.4, -0.28), fontsize="small")
    return drawn
