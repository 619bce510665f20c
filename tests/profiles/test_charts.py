"""Charts of where the time goes: units, and the colours of the load tests' charts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from loadtests import charts as load_charts
from loadtests.run import Load
from profiles import charts
from profiles.experiment import Profiles, breakdown
from tests.loadtests.figures import PNG, colours, labels, png
from tests.profiles import recorded

VARIANTS = ("cache off", "cache ttl")

Chart = Callable[[Profiles], Figure]


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    """Two rounds, all of the same recorded run; the second variant never runs the driver."""
    rows = breakdown(recorded.write(tmp_path_factory.mktemp("runs") / "run"))
    tables = []
    for number in (1, 2):
        tables.append(rows.assign(round=number, variant="cache off"))
        tables.append(rows[rows["category"] != "driver"].assign(round=number, variant="cache ttl"))
    return Profiles(Load("mixed"), VARIANTS, pd.concat(tables, ignore_index=True), folders={})


@pytest.mark.parametrize(
    ("chart", "unit"),
    [(charts.where_time_goes, "µs per request"), (charts.running_or_waiting, "%")],
)
def test_each_is_drawn_with_its_unit(profiles: Profiles, chart: Chart, unit: str) -> None:
    figure = chart(profiles)
    assert png(figure).startswith(PNG)
    assert labels(figure)[0].endswith(unit)
    assert plt.get_fignums() == []


def test_a_variant_has_the_colour_it_has_in_the_load_tests(profiles: Profiles) -> None:
    expected = load_charts.colours(VARIANTS)
    assert set(expected.values()) <= colours(charts.where_time_goes(profiles))


def test_every_category_is_named_beside_its_bars(profiles: Profiles) -> None:
    (axes,) = charts.where_time_goes(profiles).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["driver", "JSON", "system calls"]


def test_every_variant_is_named_beside_its_bar(profiles: Profiles) -> None:
    (axes,) = charts.running_or_waiting(profiles).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(VARIANTS)


def test_no_number_is_wider_than_its_part_of_a_bar(profiles: Profiles) -> None:
    parts = {"driver": 0.28, "system calls": 0.07, "waiting": 0.65}
    rows = [
        {"round": 1, "variant": variant, "category": name, "us_per_request": 1.0, "share": share}
        for variant in VARIANTS
        for name, share in parts.items()
    ]
    (axes,) = charts.running_or_waiting(Profiles(profiles.load, VARIANTS, pd.DataFrame(rows), folders={})).axes
    axes.figure.draw_without_rendering()
    bars = [patch.get_window_extent() for patch in axes.patches]
    texts = [text.get_window_extent() for text in axes.texts]
    assert len(texts) == len(bars)
    assert all(any(bar.x0 <= text.x0 and text.x1 <= bar.x1 for bar in bars) for text in texts)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["Python", "system calls", "waiting"]


def test_what_never_happened_can_be_drawn(profiles: Profiles, tmp_path: Path) -> None:
    folder = recorded.write(tmp_path / "idle")
    (folder / "profile.raw").write_text("")
    idle = [breakdown(folder).assign(round=1, variant=variant) for variant in VARIANTS]
    shown = Profiles(profiles.load, VARIANTS, pd.concat(idle), folders={})
    assert png(charts.running_or_waiting(shown)).startswith(PNG)
    assert png(charts.where_time_goes(shown)).startswith(PNG)


@pytest.fixture
def two() -> Profiles:
    """Two variants: `driver` vanishes, `cache` appears, `get` stays as long."""
    outer = "BaseEventLoop._run_once (asyncio/base_events.py);get (server/api/handlers.py)"
    rows = [
        (number, variant, f"{outer}{stack}", microseconds)
        for number in (1, 2)
        for variant, stack, microseconds in [
            ("cache off", "", 20.0), ("cache off", ";find (pymongo/cursor.py)", 100.0),
            ("cache ttl", "", 20.0), ("cache ttl", ";newest (server/recent.py)", 5.0),
        ]
    ]  # fmt: skip
    frames = pd.DataFrame(rows, columns=["round", "variant", "stack", "us_per_request"])
    waits = pd.DataFrame({"variant": VARIANTS, "reason": ["an answer of MongoDB"] * 2, "threads": [1.5, 0.1]})
    return Profiles(Load("mixed"), VARIANTS, pd.DataFrame(), folders={}, stacks=frames, waits=waits)


@pytest.mark.parametrize(
    ("chart", "unit"),
    [(charts.icicle, "µs per request"), (charts.difference, "µs per request"), (charts.waits, "mean")],
)
def test_calls_and_waits_are_drawn_with_their_unit(two: Profiles, chart: Chart, unit: str) -> None:
    figure = chart(two)
    assert png(figure).startswith(PNG)
    assert labels(figure)[0].endswith(unit)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_server_that_was_never_seen_at_work_can_be_drawn(two: Profiles, variant: str) -> None:
    seen = replace(two, stacks=two.stacks[two.stacks["variant"] != variant])
    for figure in (charts.icicle(seen, variant), charts.difference(seen), charts.difference(seen, reverse=True)):
        assert png(figure).startswith(PNG)


def written(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.axes[0].texts}


def test_a_difference_shows_what_appeared_and_reversed_what_vanished(two: Profiles) -> None:
    assert "newest" in written(charts.difference(two))
    assert "find" not in written(charts.difference(two))
    assert "find" in written(charts.difference(two, reverse=True))


def test_a_call_is_as_wide_as_what_it_calls_together(two: Profiles) -> None:
    widths = sorted(bar.get_width() for bar in charts.icicle(two, "cache off").axes[0].patches)
    assert widths == pytest.approx([100.0, 120.0])


def test_a_figure_can_be_kept_as_svg(two: Profiles, tmp_path: Path) -> None:
    charts.icicle(two).savefig(tmp_path / "icicle.svg")
    assert "<svg" in (tmp_path / "icicle.svg").read_text()


def test_a_figure_is_shown_as_svg_whose_words_are_words(two: Profiles) -> None:
    shown = charts.svg(charts.difference(two, reverse=True)).data
    assert shown.startswith("<svg")
    assert ">find<" in shown.replace("\n", "")
