"""Run this project's commands as a person would, and read what they complain about."""

import re
import subprocess
import sys
from pathlib import Path

# What click prints above the complaint when a flag is wrong.
USAGE = re.compile(r"Usage: .*\nTry '.* --help' for help\.\n\n")


def run(*arguments: str | Path, cwd: Path | None = None, seconds: float = 180) -> subprocess.CompletedProcess[str]:
    """Run `python -m` with `arguments` to its end, which has to come within `seconds`."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=cwd,
        check=False,
    )


def complaint(ended: subprocess.CompletedProcess[str], returncode: int) -> str:
    """The one line with which a command has refused; `returncode` is 2 for wrong usage, 1 for all else."""
    assert ended.returncode == returncode, ended.stderr
    said = USAGE.sub("", ended.stderr) if returncode == 2 else ended.stderr
    (line,) = said.splitlines()
    assert line.startswith("Error: ")
    return line
