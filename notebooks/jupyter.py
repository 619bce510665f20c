"""JupyterLab on a folder of notebooks, until Ctrl-C, or until it is shut down in the browser."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness import processes
from harness.processes import Program, ProgramError

START_SECONDS = 120.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1


def run(
    folder: Path, log: Path, environment: Mapping[str, str], options: Sequence[str], say_where: Callable[[str], None]
) -> None:
    """Run JupyterLab on `folder` until it ends, and call `say_where` with its address, which has the token in it.

    On Ctrl-C it is stopped with its kernels, without a question; it runs in a session of its own, so that the terminal
    sends Ctrl-C to this process only. What it says goes to `log`. `options` are further ones of JupyterLab's. Raises
    `ProgramError` if it does not start, or fails.
    """
    log.unlink(missing_ok=True)
    # Its files about this run, such as the connections of kernels. Not in HOME, which need not be writable.
    with tempfile.TemporaryDirectory(prefix="jupyter-", dir=log.parent) as runtime:
        started = processes.start(
            [sys.executable, "-m", "jupyterlab", "--notebook-dir", str(folder), *_as_root(), *options],
            log,
            environment={**environment, **_home(log.parent), "JUPYTER_RUNTIME_DIR": runtime},
        )
        try:
            say_where(_wait_until_ready(started, Path(runtime)))
            _wait_until_ended(started)
        finally:
            processes.stop(started, STOP_SECONDS)


def _as_root() -> list[str]:
    """Containers and lab machines have often no other user."""
    return ["--allow-root"] if os.geteuid() == 0 else []


def _home(instead: Path) -> dict[str, str]:
    """Another HOME if this user's cannot be written to: JupyterLab and IPython keep settings there."""
    home = Path("~").expanduser()
    return {} if os.access(home, os.W_OK) else {"HOME": str(instead)}


def _wait_until_ready(started: Program, runtime: Path) -> str:
    """The address of JupyterLab, once it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while started.is_running and time.monotonic() < deadline:
        for file in runtime.glob("jpserver-*.json"):
            with suppress(ValueError):  # it is being written
                about = json.loads(file.read_text())
                return f"{about['url']}lab?token={about['token']}"
        time.sleep(POLL_SECONDS)
    raise ProgramError(f"JupyterLab does not start: {' '.join(started.last_lines())} (its log: {started.log})")


def _wait_until_ended(started: Program) -> None:
    if (returncode := started.process.wait()) != 0:
        said = " ".join(started.last_lines())
        raise ProgramError(f"JupyterLab ended with exit code {returncode}: {said} (its log: {started.log})")
