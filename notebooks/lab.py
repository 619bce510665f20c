"""Executes the notebooks in order, with a MongoDB and a service of their own."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Never

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat.v4 import new_markdown_cell

from harness import mongod, progress
from harness.mongod import MongodError
from harness.options import DATA_DIR, from_environment
from harness.progress import Bar
from loadtests import service
from notebooks.effort import FULL_TAG, is_quick
from notebooks.prevented import is_of_the_machine
from notebooks.report import Executed

NOTEBOOKS = Path(__file__).parent
# Of the embedded MongoDB of `make jupyter`, and of all that is written here.
LAB = Path(os.environ.get("LAB_DATA_DIR") or NOTEBOOKS.parent / DATA_DIR).absolute()
COPIES = LAB / "notebooks"  # those of a learner, see `notebooks.copies`
CELL_SECONDS = 600
QUICK_MARK = " (quick: a first look, not to be quoted)"
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
SHORT_CELL_SECONDS = 0.3
QUICK_SHARE = 0.6  # of its time that a notebook takes when it measures little
BAR = "{desc:40.40} {percentage:3.0f}% |{bar}| {elapsed}, about {remaining} left"


def notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks in `folder`, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


@contextmanager
def stack(data_dir: Path) -> Iterator[dict[str, str]]:
    """Run MongoDB and the service during the block; gives the environment variables with which a kernel finds them.

    Uses a new database of the MongoDB at LAB_MONGODB_URI, or else the embedded MongoDB of `data_dir`. Raises
    `MongodError` or `ProgramError`.
    """
    given = from_environment()
    with ExitStack() as running:
        if given.mongodb_uri is None:
            uri = running.enter_context(mongod.running(data_dir, given.mongod))
            database = given.database
            service.migrate(uri, database)
        else:
            uri, database = running.enter_context(service.scratch_database("lab"))
        server = running.enter_context(service.running(mongodb_uri=uri, database=database))
        yield {
            "LAB_DATA_DIR": str(data_dir),
            "LAB_DATABASE": database,
            "LAB_URL": server.url,
            **_without_proxy(),
        }


def _without_proxy() -> dict[str, str]:
    """NO_PROXY, in both spellings, with this machine: all that the notebooks talk to is here."""
    names = [*filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy")]), *THIS_MACHINE]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(names))


def run(paths: list[Path]) -> list[Executed]:
    """Execute all notebooks at `paths`, even if some fail, and return them in order. Raises as `stack` does."""
    with _scratch() as data_dir, stack(data_dir) as environment:
        return execute(paths, environment)


def execute(paths: Sequence[Path], environment: dict[str, str]) -> list[Executed]:
    """Execute the notebooks at `paths`, in order, on what `environment` names: see `stack`."""
    expected = sum(_seconds(cell) for path in paths for cell in _read(path).cells)
    with progress.bar("the notebooks", expected, bar_format=BAR, leave=True, disable=False) as bar:
        return [_execute(path, environment, bar) for path in paths]


def _read(path: Path) -> nbformat.NotebookNode:
    """The notebook at `path`; shortened, and with a mark in its title, if little is to be measured."""
    notebook = nbformat.read(path, as_version=4)
    if not is_quick():
        return notebook
    title = next((cell for cell in notebook.cells if cell.cell_type == "markdown"), None)
    if title is not None:
        first, separator, rest = title.source.partition("\n")
        title.source = f"{first}{QUICK_MARK}{separator}{rest}"
    groups = groupby(notebook.cells, lambda cell: FULL_TAG in cell.metadata.get("tags", []))
    notebook.cells = [cell for is_full, group in groups for cell in (_left_out(list(group)) if is_full else group)]
    return notebook


def _left_out(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What stands in place of `cells` that follow each other: their headings and a line, if they explain anything."""
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    headings = [line for text in texts for line in text.splitlines() if line.startswith("#")]
    seconds = sum(float(cell.metadata.get("seconds", 0.0)) for cell in cells)
    time_taken = f", in about {seconds:.0f} s" if seconds else ""
    note = f"*A quick run leaves out what is measured here{time_taken}.*"
    return [new_markdown_cell("\n\n".join([*headings, note]))] if texts else []


@contextmanager
def _scratch() -> Iterator[Path]:
    """A new folder, deleted after the block; but kept if its MongoDB has failed: its log says why, and is named."""
    LAB.mkdir(parents=True, exist_ok=True)
    folder, failed = Path(tempfile.mkdtemp(prefix="run-", dir=LAB)), False
    try:
        yield folder
    except MongodError:
        failed = True
        raise
    finally:
        if not failed and not mongod.needs_recovery(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _seconds(cell: nbformat.NotebookNode) -> float:
    """The expected duration of a cell, from its metadata, for the progress bar."""
    seconds = float(cell.metadata.get("seconds", SHORT_CELL_SECONDS)) if cell.cell_type == "code" else 0.0
    return seconds * (QUICK_SHARE if is_quick() else 1.0)


def _execute(path: Path, environment: dict[str, str], bar: "Bar[Never]") -> Executed:
    """Execute a notebook; once more if it failed for what the machine prevented, which is said in it."""
    begins_at = bar.n
    executed = _execute_once(path, environment, bar)
    if executed.failure is None or not is_of_the_machine(executed.failure):
        return executed
    bar.write(f"{path.stem}: {executed.failure}; running it once more", file=sys.stderr)
    bar.n = begins_at
    again = _execute_once(path, environment, bar)
    again.notebook.cells.insert(1, new_markdown_cell(f"This notebook was run twice. At first: {executed.failure}."))
    return again


def _execute_once(path: Path, environment: dict[str, str], bar: "Bar[Never]") -> Executed:
    notebook = _read(path)
    code_cells = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def cell_starts(cell: nbformat.NotebookNode, cell_index: int) -> None:
        if cell.cell_type == "code":
            bar.set_description_str(f"{path.stem}, cell {code_cells.index(cell_index) + 1} of {len(code_cells)}")

    def cell_ended(cell: nbformat.NotebookNode, cell_index: int, **_: object) -> None:
        bar.update(_seconds(cell))

    client = NotebookClient(
        notebook,
        # The kernel's log would disturb the progress bar, and errors of cells are reported anyway.
        extra_arguments=["--log-level=CRITICAL"],
        timeout=CELL_SECONDS,
        coalesce_streams=True,  # a bar that a program prints is one line
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=cell_starts,
        on_cell_executed=cell_ended,
    )
    began, failure = time.monotonic(), None
    try:
        _run(client, environment)
    except CellExecutionError as error:
        failure = f"{error.ename}: {error.evalue}"
    except (DeadKernelError, TimeoutError) as error:
        failure = f"{type(error).__name__}: {error}"
    return Executed(path.stem, notebook, time.monotonic() - began, failure)


def _run(client: NotebookClient, environment: dict[str, str]) -> None:
    """Execute the notebook in a separate thread; on Ctrl-C, cancel it and stop its kernel before raising.

    In the main thread, nbclient would install its own handler for Ctrl-C, which stops the kernel and then fails.
    """
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as thread:
        loop = runner.get_loop()
        # A kernel that is interrupted while it starts prints a traceback.
        started = {"env": os.environ | environment, "stderr": subprocess.DEVNULL}
        execution = loop.create_task(client.async_execute(**started))
        try:
            thread.submit(loop.run_until_complete, execution).result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(execution.cancel)
            raise
