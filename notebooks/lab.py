"""Executes the notebooks in order, with a MongoDB and a service of their own."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Never

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tqdm import tqdm

from harness import mongod
from harness.options import from_environment
from loadtests import service
from notebooks.report import Executed

NOTEBOOKS = Path(__file__).parent
LAB = NOTEBOOKS.parent / ".lab"
CELL_SECONDS = 600
QUICK_CELL_SECONDS = 0.3
BAR = "{desc:40.40} {percentage:3.0f}% |{bar}| {elapsed}, about {remaining} left"


def notebooks() -> list[Path]:
    """The notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


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
        }


def run(paths: list[Path]) -> list[Executed]:
    """Execute all notebooks at `paths`, even if some fail, and return them in order. Raises as `stack` does."""
    LAB.mkdir(exist_ok=True)
    executed = []
    with tempfile.TemporaryDirectory(prefix="run-", dir=LAB) as data_dir, stack(Path(data_dir)) as environment:
        loaded = {path: nbformat.read(path, as_version=4) for path in paths}
        expected = sum(_seconds(cell) for notebook in loaded.values() for cell in notebook.cells)
        with tqdm(total=expected, bar_format=BAR) as bar:
            for path, notebook in loaded.items():
                executed.append(_execute(path, notebook, environment, bar))
    return executed


def _seconds(cell: nbformat.NotebookNode) -> float:
    """The expected duration of a cell, from its metadata, for the progress bar."""
    return float(cell.metadata.get("seconds", QUICK_CELL_SECONDS)) if cell.cell_type == "code" else 0.0


def _execute(path: Path, notebook: nbformat.NotebookNode, environment: dict[str, str], bar: "tqdm[Never]") -> Executed:
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
        execution = loop.create_task(client.async_execute(env=os.environ | environment))
        try:
            thread.submit(loop.run_until_complete, execution).result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(execution.cancel)
            raise
