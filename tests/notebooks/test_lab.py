"""Executing notebooks: their outputs and errors; a failure does not prevent the others from running."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pymongo import MongoClient

from notebooks import effort, lab, report
from notebooks.report import Executed
from tests.notebooks.pages import Page

GREET = """\
import os
from client import MessageClient
from notebooks.headline import Headline
with MessageClient(os.environ["LAB_URL"]) as client:
    print("the service says", client.hello()["greeting"])
Headline("Does it answer?", "Yes, at once.")
"""
DRAW = """\
from loadtests.charts import figure
drawn, axes = figure()
drawn
"""

NOTEBOOKS = {
    "00_wrong": [
        new_markdown_cell("# A wrong one"),
        new_code_cell("print('before')"),
        new_code_cell("assert 1 + 1 == 3, 'the sum is wrong'"),
        new_code_cell("print('after')"),
    ],
    "01_dies": [new_code_cell("import os\nos._exit(1)")],
    "02_good": [
        new_markdown_cell("# A good one"),
        new_code_cell(GREET),
        new_code_cell(DRAW, metadata={"tags": ["front"]}),
    ],
}


@pytest.fixture(scope="module")
def databases(mongodb_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient(mongodb_uri) as client:
        yield client


@pytest.fixture(scope="module")
def executed(
    mongodb_uri: str, databases: MongoClient[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> list[Executed]:
    """The notebooks above, executed once for all tests of this module."""
    directory = tmp_path_factory.mktemp("notebooks")
    for name, cells in NOTEBOOKS.items():
        nbformat.write(new_notebook(cells=cells), directory / f"{name}.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_MONGODB_URI", mongodb_uri)
        return lab.run(sorted(directory.iterdir()))


def printed(notebook: Executed) -> str:
    outputs = [output for cell in notebook.notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_every_notebook_is_run_in_order(executed: list[Executed]) -> None:
    assert [each.name for each in executed] == list(NOTEBOOKS)
    assert [each.title for each in executed] == ["A wrong one", "01_dies", "A good one"]
    assert all(each.seconds > 0 for each in executed)


def test_a_check_that_fails_ends_its_notebook(executed: list[Executed]) -> None:
    assert executed[0].failure == "AssertionError: the sum is wrong"
    assert printed(executed[0]) == "before\n"


def test_a_kernel_that_dies_is_a_failure(executed: list[Executed]) -> None:
    assert (executed[1].failure or "").startswith("DeadKernelError")


def test_the_next_one_runs_all_the_same_and_its_outputs_are_kept(executed: list[Executed]) -> None:
    assert executed[2].failure is None
    assert printed(executed[2]).startswith("the service says Hello")


def test_headlines_and_charts_are_collected_for_the_summary(executed: list[Executed]) -> None:
    assert executed[2].headlines() == [{"question": "Does it answer?", "answer": "Yes, at once."}]
    assert [len(each.front_charts()) for each in executed] == [0, 0, 1]


def test_the_report_shows_all_of_it(executed: list[Executed], tmp_path: Path) -> None:
    report.write(executed, {"processor": "Abacus", "packages": {}}, "c0ffee", tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    for words in ("Does it answer?", "the service says Hello", "the sum is wrong", "Abacus", "c0ffee"):
        assert words in page.text
    assert len(page.front_charts) == 1


KILL = """\
import json, os, pathlib, signal
running = json.loads((pathlib.Path(os.environ["LAB_DATA_DIR"]) / "mongod.json").read_text())
os.kill(running["pid"], signal.SIGKILL)
"""


@pytest.mark.parametrize(("source", "kept"), [(KILL, 1), ("1 + 1", 0)], ids=["killed", "well"])
def test_the_log_of_a_mongodb_that_was_killed_is_kept(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, tmp_path: Path, source: str, kept: int
) -> None:
    monkeypatch.setattr(lab, "LAB", data_dir)
    path = tmp_path / "00_one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    lab.run([path])
    assert len(list(data_dir.glob("run-*/mongod.log"))) == kept


def test_no_database_is_left_behind(executed: list[Executed], databases: MongoClient[dict[str, Any]]) -> None:
    assert len(executed) == len(NOTEBOOKS)
    assert [name for name in databases.list_database_names() if name.startswith("lab_")] == []


def test_a_quick_run_leaves_out_what_only_a_full_one_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(effort.VARIABLE, "1")
    full = {"tags": [effort.FULL_TAG]}
    cells = [
        new_markdown_cell("# A notebook\n\nAbout two questions."),
        new_code_cell("print('first')"),
        new_markdown_cell("## The second\n\nIt takes long.", metadata=full),
        new_code_cell("print('second')", metadata=full | {"seconds": 7}),
        new_code_cell("print('and again')", metadata=full | {"seconds": 3}),
        new_markdown_cell("## Results"),
        new_code_cell("print('a result of the second')", metadata=full),
        new_code_cell("print('a result')"),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "00_two.ipynb")
    assert [cell.source for cell in lab._read(tmp_path / "00_two.ipynb").cells] == [
        "# A notebook (quick: a first look, not to be quoted)\n\nAbout two questions.",
        "print('first')",
        "## The second\n\n*A quick run leaves out what is measured here, in about 10 s.*",
        "## Results",
        "print('a result')",
    ]
