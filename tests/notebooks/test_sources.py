"""Rules for the sources of the lab's own notebooks: short cells, no outputs, no definitions, and at least one assert.

What is judged is what git has: a learner may do with the files as they like.
"""

import ast
import json
import subprocess
from pathlib import Path

import nbformat
import pytest

from notebooks import lab
from notebooks.effort import EXERCISE, FULL_TAG
from tests.notebooks import committed

MAX_LINES = 12


@pytest.fixture(params=committed.parsed().items(), ids=lambda named: named[0])
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return request.param[1]


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def statements(notebook: nbformat.NotebookNode) -> list[ast.AST]:
    return [node for cell in code(notebook) for node in ast.walk(ast.parse(cell.source))]


def test_they_are_found_in_the_order_of_their_numbers() -> None:
    names = [path.name for path in lab.notebooks()]
    assert names == sorted(names)
    assert {Path(path).name for path in committed.notebooks()} <= set(names)
    assert names[0] == "00_start.ipynb"
    assert [name for name in names if name.startswith(EXERCISE)] == names[: len(EXERCISE)]


def test_what_a_learner_has_made_of_the_files_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_start.ipynb").write_text(original)
    for words in (["init", "--quiet"], ["add", "notebooks"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / "notebooks" / "00_start.ipynb").write_text("mine")
    (tmp_path / "notebooks" / "99_mine.ipynb").write_text(original)
    monkeypatch.setattr(committed, "ROOT", tmp_path)
    assert committed.notebooks() == {"notebooks/00_start.ipynb": original}


def test_it_is_valid(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)


def test_it_runs_on_this_python(notebook: nbformat.NotebookNode) -> None:
    assert notebook.metadata.kernelspec.name == "python3"


def test_no_output_is_kept(notebook: nbformat.NotebookNode) -> None:
    assert [(cell.outputs, cell.execution_count) for cell in code(notebook)] == [([], None)] * len(code(notebook))


def test_it_begins_with_a_heading(notebook: nbformat.NotebookNode) -> None:
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")


def test_cells_are_short(notebook: nbformat.NotebookNode) -> None:
    assert [cell.source for cell in code(notebook) if len(cell.source.splitlines()) > MAX_LINES] == []


def test_it_defines_nothing(notebook: nbformat.NotebookNode) -> None:
    """Functions and classes belong in modules, where they are tested."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert [node for node in statements(notebook) if isinstance(node, definitions)] == []


def test_it_checks_what_it_claims(notebook: nbformat.NotebookNode) -> None:
    assert any(isinstance(node, ast.Assert) for node in statements(notebook))


def test_what_a_quick_run_leaves_out_is_not_missed(notebook: nbformat.NotebookNode) -> None:
    """A cell that a quick run executes uses no name that only a cell which it leaves out has given a value."""
    given: set[str] = set()
    left_out: set[str] = set()
    for cell in code(notebook):
        names = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)]
        imported = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.alias)]
        used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        gives = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        gives |= {(node.asname or node.name).partition(".")[0] for node in imported}
        if FULL_TAG in cell.metadata.get("tags", []):
            left_out |= gives
        else:
            given |= gives
            assert not used & (left_out - given), cell.source
