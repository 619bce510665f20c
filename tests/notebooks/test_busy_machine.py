"""A check that failed for what the machine prevented is tried once more, and that is said; others are not."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import lab
from notebooks.prevented import PREVENTED, prevented
from notebooks.report import Executed

FAILS = {
    "an assert": f"raise AssertionError({PREVENTED!r} + 'Locust was late')",
    "a profile": "from profiles.experiment import Behind; raise Behind('py-spy fell behind')",
}
# Notes each run beside itself, and fails in the first ones.
CELL = """\
import pathlib
runs = pathlib.Path('{runs}')
runs.write_text(runs.read_text() + 'x')
if len(runs.read_text()) <= {times}:
    {fails}
"""

Execute = Callable[[str, int], Executed]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs"
    path.touch()
    return path


@pytest.fixture
def execute(tmp_path: Path, runs: Path) -> Execute:
    def executed(fails: str, times: int) -> Executed:
        cell = new_code_cell(CELL.format(runs=runs, times=times, fails=fails))
        path = tmp_path / "00_busy.ipynb"
        nbformat.write(new_notebook(cells=[new_markdown_cell("# Busy"), cell]), path)
        (found,) = lab.execute([path], {})
        return found

    return executed


@pytest.mark.parametrize("fails", FAILS.values(), ids=FAILS.keys())
def test_it_is_run_again_and_that_is_said(
    execute: Execute, runs: Path, fails: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = execute(fails, 1)
    assert (found.failure, runs.read_text()) == (None, "xx")
    assert found.notebook.cells[1].source.startswith("This notebook was run twice. At first: ")
    assert "running it once more" in capfd.readouterr().err


def test_it_is_run_again_once_only(execute: Execute, runs: Path) -> None:
    found = execute(FAILS["an assert"], 9)
    assert (found.failure, runs.read_text()) == (f"AssertionError: {PREVENTED}Locust was late", "xx")


def test_what_the_service_did_is_not_tried_again(execute: Execute, runs: Path) -> None:
    found = execute("assert 1 + 1 == 3, 'the sum is wrong'", 1)
    assert (found.failure, runs.read_text()) == ("AssertionError: the sum is wrong", "x")


def test_the_reason_is_that_of_the_runs_that_do_not_count() -> None:
    runs = pd.DataFrame({"void": ["", "Locust was late"]})
    assert prevented(runs) == f"{PREVENTED}1 of 2 runs do not count (Locust was late)"
    assert prevented(runs[:1], runs[:1]) == ""
