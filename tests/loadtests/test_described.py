"""Figures say in words what they show; a logarithmic axis has numbers."""

import pytest

from loadtests import charts
from loadtests.described import alternative
from tests.loadtests.figures import png


def test_a_line_is_told_by_its_ends() -> None:
    drawn, axes = charts.figure()
    axes.plot([1, 2, 3], [20.0, 1478.0, 212.0], label="cache off")
    axes.plot([1, 3], [1, 1], color="#cccccc")  # a decoration
    axes.set(xlabel="round", ylabel="µs")
    axes.set_title("what a read costs", loc="left")
    assert alternative(drawn) == "what a read costs (x: round; y: µs); cache off: x 1 to 3, y 20 to 1,478."


def test_dots_beside_names_are_told_along_the_axis_with_numbers() -> None:
    drawn, axes = charts.figure()
    axes.scatter([5.0, 7.25], [0, 0], label="ttl")
    axes.set(yticks=[0], yticklabels=["ttl"])
    assert alternative(drawn) == "A chart; ttl: 5 to 7.25."


def test_few_bars_are_told_one_by_one() -> None:
    drawn, axes = charts.figure()
    axes.barh([0, 1], [550.0, 12.0], label="cache off")
    axes.set(yticks=[0, 1], yticklabels=["driver", "JSON"])
    assert alternative(drawn) == "A chart; cache off: driver 550, JSON 12."


def test_all_parts_are_told() -> None:
    drawn, (upper, lower) = charts.panels(2, 1, 7.0, 4.0)
    upper.set_title("above", loc="left")
    lower.set_title("below", loc="left")
    assert alternative(drawn) == "above. below."


def test_a_notebook_gets_it_with_the_picture() -> None:
    drawn, _ = charts.figure()
    assert drawn._repr_mimebundle_() == ({}, {"image/png": {"alt": "A chart."}})


@pytest.mark.parametrize("ends", [(1.3, 1.7), (0.021, 0.022), (3, 4000), (50, 50), (1, 10), (999, 1001)])
@pytest.mark.parametrize("which", ["x", "y"])
def test_a_logarithmic_axis_has_two_numbers_at_least(ends: tuple[float, float], which: str) -> None:
    drawn, axes = charts.figure()
    axes.plot(ends, ends)
    axes.set(xscale="log", yscale="log")
    charts.plain_ticks(axes, which)
    png(drawn)
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    seen = [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert len([each for each in seen if each]) >= 2
    assert "e" not in "".join(seen)
    assert low <= min(ends) <= max(ends) <= high
