"""The report: a self-contained page that begins with a summary."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks import report
from notebooks.headline import Headline
from notebooks.report import Executed
from tests.notebooks.pages import Page

# The smallest PNG there is: one transparent dot.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
MACHINE = {"processor": "Abacus", "cores": 2, "memory_gib": 0.5, "system": "Linux 1", "python": "3.11", "packages": {}}


def shown(data: dict[str, Any], *tags: str) -> nbformat.NotebookNode:
    """A cell whose output is `data`."""
    return new_code_cell("it", outputs=[new_output("display_data", data)], metadata={"tags": list(tags)})


def executed(*cells: nbformat.NotebookNode, failure: str | None = None) -> Executed:
    return Executed("04_reads", new_notebook(cells=[new_markdown_cell("# Reads"), *cells]), 12.3, failure)


def page(tmp_path: Path, *notebooks: Executed) -> Page:
    """Write the report on `notebooks`, and parse it."""
    path = tmp_path / "new" / "index.html"
    report.write(list(notebooks), MACHINE, "c0ffee", path)
    return Page(path.read_text())


def test_a_headline_comes_into_the_table_at_the_front(tmp_path: Path) -> None:
    found = Headline("What does the cache change?", "The server's CPU: 0.5 times.")
    read = page(tmp_path, executed(shown(found._repr_mimebundle_())))
    assert read.table == [["What does the cache change?", "The server's CPU: 0.5 times.", "04_reads"]]


def test_a_headline_is_shown_in_the_notebook_too() -> None:
    found = executed(shown(Headline("What?", "That.")._repr_mimebundle_()))
    assert "<strong>What?</strong> That." in found.html()


@pytest.mark.parametrize(("tags", "charts"), [(["front"], [f"data:image/png;base64,{PNG}"]), ([], []), (["back"], [])])
def test_a_chart_comes_to_the_front_if_its_cell_is_tagged(tmp_path: Path, tags: list[str], charts: list[str]) -> None:
    assert page(tmp_path, executed(shown({"image/png": PNG}, *tags))).front_charts == charts


def test_a_failure_is_told(tmp_path: Path) -> None:
    read = page(tmp_path, executed(failure="AssertionError: 2 < 1"))
    assert "This notebook failed: AssertionError: 2 < 1" in read.text


def test_the_machine_and_the_commit_are_told(tmp_path: Path) -> None:
    read = page(tmp_path, executed())
    for words in ("Abacus, 2 cores, 0.5 GiB", "Python 3.11", "commit c0ffee"):
        assert words in read.text


def test_what_was_found_is_text_and_never_markup(tmp_path: Path) -> None:
    found = Headline("<b>Is a < b?</b>", "<script>alert(1)</script>")
    read = page(tmp_path, executed(shown(found._repr_mimebundle_()), failure="<img src=x>"))
    assert read.table[0][:2] == ["<b>Is a < b?</b>", "<script>alert(1)</script>"]
    assert "<img src=x>" in read.text
    assert "x" not in read.addresses


def test_links_lead_to_places_on_the_page(tmp_path: Path) -> None:
    read = page(tmp_path, executed(shown({"image/png": PNG}, "front")))
    targets = {address.removeprefix("#") for address in read.addresses if address.startswith("#")}
    assert "04_reads" in targets
    assert targets <= read.ids


def test_it_needs_no_network(tmp_path: Path) -> None:
    read = page(tmp_path, executed(shown({"image/png": PNG}, "front")))
    assert [address for address in read.addresses if not address.startswith(("#", "data:"))] == []


def test_it_can_be_written_again(tmp_path: Path) -> None:
    page(tmp_path, executed())
    assert "Reads" in page(tmp_path, executed()).text
