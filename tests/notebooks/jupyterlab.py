"""What `make jupyter` starts, for tests: its address, and its end."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.pages import ROOT
from tests.waiting import eventually

ADDRESS = re.compile(r"JupyterLab: (http://\S+/lab\?token=\w+)")
COMMAND = (sys.executable, "-m", "notebooks", "jupyter")


@dataclass
class JupyterLab:
    """The command that runs, in a session of its own as in a terminal. What it says goes to the file `said`."""

    process: "subprocess.Popen[bytes]"
    said: Path

    def address(self) -> str:
        """Wait until it says where JupyterLab is."""
        eventually(lambda: "Ctrl-C ends it" in self.text() or self.process.poll() is not None, seconds=240)
        found = ADDRESS.search(self.text())
        assert found, self.text()
        return found[1]

    def text(self) -> str:
        return self.said.read_text()

    def ctrl_c(self) -> int:
        """Press Ctrl-C, as a terminal passes it on, and wait for the end; returns the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=120)


@contextmanager
def started(folder: Path, *options: str, jupyter: Sequence[str] = (), **environment: str) -> Iterator[JupyterLab]:
    """Start it with its database and its copies of the notebooks in `folder`, and stop it after the block.

    `jupyter` are further options of JupyterLab's.
    """
    said = folder / "said"
    command = [*COMMAND, *options, "--", "--no-browser", "--port", "0", *jupyter]
    with said.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, start_new_session=True,
            env=os.environ | {"LAB_DATA_DIR": str(folder)} | environment,
        )  # fmt: skip
    with process:
        try:
            yield JupyterLab(process, said)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=120)


def run(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run it with further options of JupyterLab's until it has ended by itself."""
    return subprocess.run(
        [*COMMAND, "--", "--no-browser", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"LAB_DATA_DIR": str(folder)}, timeout=240, check=False,
    )  # fmt: skip
