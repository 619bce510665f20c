"""Progress bars in the cell of a notebook: one output, whatever is inside it, and one line at its end."""

import subprocess
import sys

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

CELL = """\
from concurrent.futures import ThreadPoolExecutor
from harness import progress

def one_run():
    with progress.bar("a run", 3, unit=" s", mininterval=0) as inner:
        for _ in range(3):
            inner.update()

with progress.bar("comparing", 2, unit=" runs", mininterval=0) as outer, ThreadPoolExecutor(1) as thread:
    one_run()
    outer.update()
    thread.submit(one_run).result()
    outer.update()
"""
COMMAND = """
import sys
from harness import progress
with progress.bar("comparing", 2) as bar:
    bar.update(2)
"""


def executed(source: str) -> tuple[list[str], nbformat.NotebookNode]:
    """What a cell showed, one after the other, and the cell with the outputs that remain."""
    shown = []

    class Client(NotebookClient):  # type: ignore[misc]
        def process_message(self, msg: dict, cell: nbformat.NotebookNode, cell_index: int) -> object:  # type: ignore[type-arg]
            if msg["msg_type"] in ("display_data", "update_display_data"):
                shown.append(msg["content"]["data"]["text/plain"])
            return super().process_message(msg, cell, cell_index)

    notebook = new_notebook(cells=[new_code_cell(source)])
    Client(notebook, extra_arguments=["--log-level=CRITICAL"]).execute()
    return shown, notebook.cells[0]


def test_a_cell_shows_how_far_it_is_and_keeps_one_line() -> None:
    shown, cell = executed(CELL)
    beside = [text.splitlines() for text in shown if "a run" in text]
    assert len(beside) >= 8
    assert all(len(lines) == 2 and lines[0].startswith("comparing") for lines in beside)
    assert any("50%" in lines[0] and "67%" in lines[1] for lines in beside)
    assert all(" left" in line for lines in beside for line in lines)
    (output,) = cell.outputs
    assert output.output_type == "display_data"
    assert output.data["text/plain"].startswith("comparing: 2 of 2 runs in ")
    assert "\n" not in output.data["text/plain"]


def test_a_bar_of_the_next_cell_has_an_output_of_its_own() -> None:
    _, cell = executed(f"{CELL}\n{CELL}")
    assert [output.data["text/plain"][:9] for output in cell.outputs] == ["comparing", "comparing"]


def test_a_command_whose_stderr_is_no_terminal_shows_none() -> None:
    ended = subprocess.run([sys.executable, "-c", COMMAND], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
