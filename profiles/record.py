"""Record a running Python process with py-spy.

Only threads that hold the interpreter's lock (the GIL) are sampled. At most one does at a time, so the
samples are the time in which Python ran, and add up to no more than the clock: with Motor the server
has a pool of threads, and counting every thread that looks busy would count the queue for the lock too.
What threads wait for is another recording, of all of them.
"""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness import clock

RATE = 100
GRACE_SECONDS = 20.0


class ProfilerError(Exception):
    """A profile could not be taken. The text is one line that says what to do."""


@dataclass(frozen=True)
class Recording:
    """When a recording was made (Unix seconds), at how many samples a second, and whether py-spy kept up.

    py-spy takes the samples it was asked for after random waits, so a recording of "4 s" lasts 3.5 to
    4.5 s: `seconds` is how long it took, and `rate` what that makes of the samples.
    """

    began: float
    seconds: float
    rate: float
    behind: bool


def record(
    pid: int, seconds: float, raw: Path, rate: int = RATE, *, waiting: bool = False, native: bool = False
) -> Recording:
    """Sample the process `pid` for `seconds` into `raw`, a line for each distinct stack.

    `waiting` samples every thread, also those that wait, instead of only the one that runs Python. `native` adds the
    frames of C libraries.
    Raises `ProfilerError` without the right to trace the process, or when there is no such process.
    """
    if not psutil.pid_exists(pid):
        raise ProfilerError(f"py-spy could not record process {pid}: no process with that number is running")
    command = [_py_spy(), "record", "--pid", str(pid), "--duration", f"{max(1, round(seconds))}", "--rate", str(rate)]
    command += ["--idle" if waiting else "--gil", "--format", "raw", "--output", str(raw)]
    command += ["--native"] if native else []
    began, said = clock.now(), ""
    with (
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as py_spy,
        _stopped_after(seconds + GRACE_SECONDS, py_spy),
    ):
        assert py_spy.stdout is not None
        for line in py_spy.stdout:
            if "Sampling process" in line:
                began = clock.now()
            said += line
    took = clock.now() - began
    if py_spy.returncode != 0 or not raw.exists():
        raise ProfilerError(_why(pid, said))
    return Recording(began, took, rate * max(1, round(seconds)) / took, "behind in sampling" in said)


@contextmanager
def _stopped_after(seconds: float, process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill `process` should it run longer than `seconds`."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _py_spy() -> str:
    beside_python = Path(sys.executable).with_name("py-spy")
    found = str(beside_python) if beside_python.exists() else shutil.which("py-spy")
    if found is None:
        raise ProfilerError("py-spy is not installed: make setup installs it")
    return found


def _why(pid: int, said: str) -> str:
    if "ermission" in said or "EPERM" in said or "not permitted" in said:
        if sys.platform == "darwin":
            cure = "macOS lets only root do this: run it with sudo"
        else:
            cure = (
                "start the server with --allow-profiling on, or allow it for the machine with "
                "sudo sysctl kernel.yama.ptrace_scope=0; a container needs the capability SYS_PTRACE"
            )
        return f"py-spy may not look into process {pid}: {cure}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # What went wrong comes first; a trace of py-spy's own may follow.
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return f"py-spy could not record process {pid}: {(errors or lines or ['it said nothing'])[0]}"
