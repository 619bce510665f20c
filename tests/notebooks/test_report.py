"""The report: a self-contained page that begins with a summary."""

import html
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from loadtests.sentences import Sentence
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


def test_answers_come_first_and_what_could_not_be_said_last(tmp_path: Path) -> None:
    found = [
        Headline("Lost?", "The generator was the limit.", said=False),
        Headline("More?", "Yes.", more=True),
        Headline("How much?", "Six times.", "212 µs"),
    ]
    read = page(tmp_path, executed(*(shown(each._repr_mimebundle_()) for each in found)))
    assert read.table == [["How much?", "Six times. 212 µs", "04_reads"]]
    places = [read.text.index(each) for each in ("How much?", "More numbers", "What this run could not say", "Reads")]
    assert read.text.index("How much?") < read.text.index("More?") < read.text.index("Lost?")
    assert places[:3] == sorted(places[:3])


def test_a_headline_is_made_of_a_sentence() -> None:
    assert Headline.of("What?", Sentence("That.", said=False)) == Headline("What?", "That.", said=False)


def test_a_chart_says_what_it_shows(tmp_path: Path) -> None:
    cell = shown({"image/png": PNG}, "front")
    cell.outputs[0].metadata = {"image/png": {"alt": 'p95 < 50 ms, "cache"'}}
    page(tmp_path, executed(cell))
    written = (tmp_path / "new" / "index.html").read_text()
    alternatives = re.findall(r"""<img alt=(["'])(.*?)\1""", written)
    assert [html.unescape(each) for _, each in alternatives] == ['p95 < 50 ms, "cache"'] * 2


def test_a_drawing_is_an_image_that_says_what_it_shows(tmp_path: Path) -> None:
    cells = [shown({"image/svg+xml": '<svg id="a"><title>it</title></svg>'}) for _ in range(2)]
    for cell in cells:
        cell.outputs[0].metadata = {"image/svg+xml": {"alt": "calls of cache off"}}
    read = page(tmp_path, executed(*cells))
    assert sum(address.startswith("data:image/svg+xml;base64,") for address in read.addresses) == 2
    assert 'alt="calls of cache off"' in (tmp_path / "new" / "index.html").read_text()


def test_two_notebooks_with_the_same_headings_have_ids_of_their_own(tmp_path: Path) -> None:
    cells = [new_markdown_cell("# Reads\n\n## Results\n\nsee [below](#Results)")]
    both = [Executed(name, new_notebook(cells=cells), 1.0) for name in ("04_reads", "05_writes")]
    read = page(tmp_path, *both)
    written = (tmp_path / "new" / "index.html").read_text()
    ids = re.findall(r'\bid="([^"]*)"', written)
    assert len(ids) == len(set(ids))
    assert {"04_reads-Results", "05_writes-Results"} <= read.ids
    assert {each.removeprefix("#") for each in read.addresses if each.startswith("#")} <= read.ids


def test_the_page_has_one_first_heading(tmp_path: Path) -> None:
    page(tmp_path, executed(), executed())
    written = (tmp_path / "new" / "index.html").read_text()
    assert (written.count("<h1"), written.count("</h1>")) == (1, 1)


def test_tasks_that_nobody_has_done_are_not_shown(tmp_path: Path) -> None:
    task = new_markdown_cell("## Your turn", metadata={"tags": ["your-turn"]})
    assert "Your turn" not in page(tmp_path, executed(task, shown({"text/plain": "not yet"}, "your-turn"))).text
