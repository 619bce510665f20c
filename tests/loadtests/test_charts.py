"""Charts: each can be drawn, names its units, and keeps the colour of a variant."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from loadtests import charts
from loadtests.capacity import Capacity, Slo
from loadtests.comparison import METRICS, Comparison
from loadtests.ingest import Run
from loadtests.run import Load
from loadtests.summary import summarize
from tests.loadtests import recorded
from tests.loadtests.figures import PNG, colours, labels, png

VARIANTS = ("cache off", "cache ttl")
BLUE, ORANGE = charts.COLOURS[:2]

Chart = Callable[[Comparison], Figure]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Six rounds, all of the same recorded run; the second variant needs half the processor time."""
    folder = recorded.write(tmp_path_factory.mktemp("runs") / "run")
    summary = summarize(Run(folder))
    rows = [
        {"round": number, "variant": variant, "folder": folder}
        | summary
        | {"server_us": summary["server_us"] * share * (1 + number / 100)}
        for number in range(1, 7)
        for variant, share in zip(VARIANTS, (1.0, 0.5), strict=True)
    ]
    return Comparison(Load("mixed", seconds=recorded.SECONDS), VARIANTS, pd.DataFrame(rows))


@pytest.mark.parametrize("chart", [charts.rounds, charts.latency, charts.throughput, charts.ratios])
def test_each_is_drawn_and_then_left_to_the_notebook_to_show(comparison: Comparison, chart: Chart) -> None:
    assert png(chart(comparison)).startswith(PNG)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("chart", "x", "y"),
    [
        (charts.latency, "ms", "%"),
        (charts.throughput, ", s", "requests/s"),
        (charts.ratios, "cache ttl ÷ cache off", ""),
    ],
)
def test_the_axes_have_units(comparison: Comparison, chart: Chart, x: str, y: str) -> None:
    says_x, says_y = labels(chart(comparison))
    assert x in says_x
    assert y in says_y


@pytest.mark.parametrize("metric", METRICS)
def test_rounds_can_be_drawn_of_every_metric_with_its_unit(comparison: Comparison, metric: str) -> None:
    figure = charts.rounds(comparison, metric)
    assert png(figure).startswith(PNG)
    assert labels(figure)[1] == f"{METRICS[metric].name}\n{METRICS[metric].unit}"


@pytest.mark.parametrize(
    ("chart", "named"), [(charts.rounds, set()), (charts.latency, set(VARIANTS)), (charts.throughput, set(VARIANTS))]
)
def test_a_variant_has_the_same_colour_everywhere(comparison: Comparison, chart: Chart, named: set[str]) -> None:
    assert charts.colours(VARIANTS) == {"cache off": BLUE, "cache ttl": ORANGE}
    assert {BLUE, ORANGE} <= colours(chart(comparison))
    written = {text.get_text().strip(): text.get_color() for text in chart(comparison).axes[0].texts}
    labelled = {text: colour for text, colour in written.items() if text in VARIANTS}
    assert labelled == {name: colour for name, colour in charts.colours(VARIANTS).items() if name in named}


def test_a_ratio_that_shows_no_difference_is_grey(comparison: Comparison) -> None:
    differs, equal = (charts.ratios(comparison).axes[0].lines[row].get_color() for row in (0, 2))
    assert (differs, equal) == (ORANGE, charts.GREY)


def test_throughput_is_a_line_also_in_a_short_run(comparison: Comparison) -> None:
    short = replace(comparison, load=replace(comparison.load, warmup=0.5, seconds=1.5))
    lines = charts.throughput(short).axes[0].lines
    assert {tuple(line.get_xdata()[[0, -1]]) for line in lines} == {(-0.375, 1.375)}


def test_throughput_draws_what_was_refused_apart(comparison: Comparison) -> None:
    texts = {text.get_text().strip() for text in charts.throughput(comparison).axes[0].texts}
    assert texts == {"cache off", "cache off, refused", "cache ttl", "cache ttl, refused"}


def test_ratios_say_why_one_is_missing(comparison: Comparison) -> None:
    void = comparison.rounds.assign(void="Locust used 99% of a core: it was the limit")
    figure = charts.ratios(Comparison(comparison.load, VARIANTS, void))
    assert png(figure).startswith(PNG)
    assert any("throughput: not quoted" in text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize("chart", [charts.rounds, charts.latency, charts.throughput, charts.ratios])
def test_a_variant_that_answered_nothing_can_be_drawn(comparison: Comparison, tmp_path: Path, chart: Chart) -> None:
    folder = recorded.write(tmp_path / "failed")
    rows = (folder / "requests.csv").read_text()
    (folder / "requests.csv").write_text(re.sub(r"\d+,ok", "500,failed", rows))
    failed = [{"round": number, "variant": "cache ttl", "folder": folder} for number in range(1, 7)]
    rounds = comparison.rounds[comparison.rounds["variant"] == "cache off"]
    rounds = pd.concat([rounds, pd.DataFrame([row | summarize(Run(folder)) for row in failed])])
    assert png(chart(Comparison(comparison.load, VARIANTS, rounds))).startswith(PNG)


def test_there_are_colours_for_more_variants_than_anybody_compares() -> None:
    six = charts.colours([f"variant {number}" for number in range(6)])
    assert len(set(six.values())) == 6


BUSY = "Locust used 99% of a core: it was the limit"


def test_a_void_run_is_crossed_and_not_counted(comparison: Comparison) -> None:
    void = comparison.rounds["void"].where(comparison.rounds["round"] > 2, BUSY)
    figure = charts.rounds(Comparison(comparison.load, VARIANTS, comparison.rounds.assign(void=void)), "p50_ms")
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert sum(len(line.get_ydata()) for line in crosses) == 4
    assert {line.get_color() for line in crosses} == {charts.GREY}
    assert "4 void runs, not counted" in figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize("chart", [charts.latency, charts.throughput])
def test_void_runs_are_left_out_of_what_is_drawn_of_them_together(comparison: Comparison, chart: Chart) -> None:
    figure = chart(Comparison(comparison.load, VARIANTS, comparison.rounds.assign(void=BUSY)))
    assert len(figure.axes[0].lines) == 0
    assert "(12 void runs left out)" in figure.axes[0].get_title(loc="left")
    assert png(figure).startswith(PNG)


@pytest.mark.parametrize("high", [220.0, float("inf")])
def test_capacity_is_drawn_over_the_offered_rate(high: float) -> None:
    rows = [
        {"rate": rate, "requests_per_s": min(rate, 210.0), "p95_ms": latency, "void": void}
        for rate, latency, void in [(100.0, 5.0, ""), (200.0, 20.0, ""), (220.0, 900.0, ""), (400.0, 2000.0, BUSY)]
    ]
    figure = charts.capacity(Capacity("reads", Slo(), 200.0, high, "" if high < 300 else BUSY, pd.DataFrame(rows)))
    upper, lower = figure.axes
    assert png(figure).startswith(PNG)
    assert "requests/s" in upper.get_ylabel()
    assert "ms" in lower.get_ylabel()
    assert "200" in upper.get_title(loc="left")


def test_the_ladder_shows_capacities_and_costs_of_each_variant_in_its_colour() -> None:
    row = {"rate": 200.0, "held": True, "server_us": 400.0, "mongod_us": 100.0, "server_cores": 0.1}
    runs = pd.DataFrame([row, row | {"server_us": 600.0}])
    found = {
        "baseline": Capacity("mixed", Slo(), 200.0, 250.0, "", runs),
        "+ cache": Capacity("mixed", Slo(), 200.0, float("inf"), BUSY, runs),
        "+ nothing": Capacity("mixed", Slo(), 0.0, 100.0, "", runs),
    }
    figure = charts.ladder(found)
    left, right = figure.axes
    assert png(figure).startswith(PNG)
    assert {text.get_text(): text.get_color() for text in left.texts} == {
        "200 to 250": BLUE, "at least 200": ORANGE, "0 to 100": charts.COLOURS[2],
    }  # fmt: skip
    assert [bar.get_width() for bar in right.patches][:2] == [500.0, 100.0]
    assert "requests/s" in left.get_xlabel()
    assert "µs" in right.get_xlabel()
