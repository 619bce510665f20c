"""The page about a learner's server: one file, with what was measured or the command that measures."""

import re
from pathlib import Path

import pytest

from practice import measured, report, settings
from practice.measured import OURS, YOURS, Capacity, Where
from tests.notebooks.pages import Page
from tests.practice.conftest import NewFolder
from tests.practice.example import MEASURED


def page(folder: Path) -> tuple[str, Page]:
    """The page about a folder: its source, and what can be read on it."""
    source = report.render(settings.of_folder(folder))
    return source, Page(source)


def test_where_nothing_was_measured_it_says_how_to(new_folder: NewFolder) -> None:
    _, shown = page(new_folder())
    assert "Nothing was measured yet: python -m practice measure" in shown.text
    assert "Nothing was checked yet: python -m practice check" in shown.text
    assert "What a request costs" not in shown.text


def test_what_was_measured_is_on_the_page(new_folder: NewFolder) -> None:
    folder = new_folder(more='[answers]\nslow = "database"\n')
    measured.save(MEASURED, folder / ".practice")
    source, shown = page(folder)
    for words in ("2 cores of Abacus", "140 to 180", "at least 7,000", "reads, the lab's: Locust was it", "38.45 ["):
        assert words in shown.text
    for words in ("as py-spy sees it", "900 µs", "33 µs below app.py:7 do_GET", "You said: the database. It has no"):
        assert words in shown.text
    assert ["reads", "yours", "2,346", "–", "4.2"] in shown.table
    assert ["", "the lab's", "61", "12", "–"] in shown.table
    assert re.findall(r'aria-label="([^"]*)"', source)[:4] == [
        "yours: 140 to 180",
        "the lab&#39;s: at least 7,000",
        "yours: none found",
        "the lab&#39;s: 800 to 1,000",
    ]


def test_it_can_be_mailed(new_folder: NewFolder) -> None:
    folder = new_folder()
    measured.save(MEASURED, folder / ".practice")
    source, shown = page(folder)
    assert shown.addresses == []
    assert "<script" not in source


def test_what_was_found_is_text_and_never_markup(new_folder: NewFolder) -> None:
    folder = new_folder(name="<b>mine")
    nasty = MEASURED.model_copy(update={"where": Where(by="py-spy", parts={"<img src=x>": 1.0}, notes=["<script>"])})
    measured.save(nasty, folder / ".practice")
    source, shown = page(folder)
    assert "<img" not in source
    assert "<script" not in source
    assert "<b>mine" in shown.text


@pytest.mark.parametrize(
    "capacity", [Capacity(low=None, high=None), Capacity(low=3, high=None), Capacity(low=1, high=2)]
)
def test_any_capacity_can_be_drawn(new_folder: NewFolder, capacity: Capacity) -> None:
    folder = new_folder()
    both = MEASURED.model_copy(
        update={"capacities": {"reads": {YOURS: capacity, OURS: capacity}}, "costs": {}, "where": Where()}
    )
    measured.save(both, folder / ".practice")
    assert str(capacity) in page(folder)[1].text


def test_a_measurement_that_is_broken_counts_as_none(new_folder: NewFolder) -> None:
    folder = new_folder()
    (folder / ".practice").mkdir()
    (folder / ".practice" / measured.FILE).write_text('{"slo": 1')
    assert "Nothing was measured yet" in page(folder)[1].text
