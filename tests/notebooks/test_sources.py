"""Rules for the notebooks' sources: short cells, no outputs, no definitions, and at least one assert."""

import ast
from pathlib import Path

import nbformat
import pytest

from notebooks import lab

MAX_LINES = 12


@pytest.fixture(params=lab.notebooks(), ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=nbformat.NO_CONVERT)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def statements(notebook: nbformat.NotebookNode) -> list[ast.AST]:
    return [node for cell in code(notebook) for node in ast.walk(ast.parse(cell.source))]


def test_they_are_found_in_the_order_of_their_numbers() -> None:
    names = [path.name for path in lab.notebooks()]
    assert names == sorted(path.name for path in Path(lab.__file__).parent.glob("*.ipynb"))
    assert names[0] == "00_start.ipynb"


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
