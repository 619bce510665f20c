"""Start programs, read their output, and stop them with all their descendants.

A program runs in a session of its own, so Ctrl-C in the terminal reaches only the process that has started it, which
then stops it. On Linux the kernel also terminates it if that process is killed (`PR_SET_PDEATHSIG`, set by `setpriv`).
"""

import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

STOP_SECONDS = 60.0
CHUNK = 4096


class ProgramError(Exception):
    """A program could not be started, or failed. The text says why."""


@dataclass(frozen=True)
class Program:
    """A program that was started. `log` is the file with its stderr, and its stdout unless that is a pipe."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        """The process id of the program itself."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended yet."""
        return self.process.poll() is None

    def last_lines(self, count: int = 1) -> list[str]:
        """The last `count` lines of the program's log, oldest first."""
        return self.log.read_text(errors="replace").strip().splitlines()[-count:]


def start(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    pipes: bool = False,
) -> Program:
    """Start `command`, which must be stopped with `stop` or `kill`.

    `environment` is added to that of this process; None removes a variable. stdin is empty, and output is appended to
    `log`; with `pipes` stdin and stdout are pipes instead. Raises `ProgramError` if the program cannot be started.

    The kernel terminates the program when the thread that has started it ends, so only the main thread requests that.
    """
    _refuse_unless_executable(command[0], cwd)
    ours, theirs = (subprocess.PIPE, subprocess.PIPE) if pipes else (subprocess.DEVNULL, None)
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                [*_pdeathsig_prefix(), *command],
                stdin=ours,
                stdout=theirs or output,
                stderr=output,
                env={name: value for name, value in {**os.environ, **(environment or {})}.items() if value is not None},
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramError(f"{command[0]} cannot be started: {error.strerror}") from error
    return Program(process, log)


def stop(program: Program, seconds: float = STOP_SECONDS) -> int:
    """Terminate the program, kill it after `seconds`, and kill its descendants; return the program's exit code."""
    family = _family(program)
    returncode = end(program.process, seconds)
    _kill_rest(program, family)
    return returncode


def kill(program: Program) -> None:
    """Kill the program and its descendants (SIGKILL)."""
    family = _family(program)
    end(program.process, 0)
    _kill_rest(program, family)


def end(process: "subprocess.Popen[Any]", seconds: float = STOP_SECONDS) -> int:
    """Terminate a child process, kill it if it still runs after `seconds`, and return its exit code."""
    if seconds > 0:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    process.kill()  # no effect on a process that has ended
    returncode = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    return returncode


def run(command: Sequence[str], *, accept: Sequence[int] = (0,), environment: Mapping[str, str] | None = None) -> str:
    """Run `command` to its end and return its stdout. Raises `ProgramError` with the last line of its stderr.

    `environment` is added to that of this process.
    """
    result = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if result.returncode not in accept:
        lines = result.stderr.strip().splitlines()
        message = lines[-1].removeprefix("Error: ") if lines else f"exit code {result.returncode}, and no error message"
        raise ProgramError(message)
    return result.stdout


def first_line(pipe: IO[bytes], seconds: float) -> str:
    """Read the first line from `pipe`; the part of it that has arrived at the end of the pipe or after `seconds`."""
    deadline = time.monotonic() + seconds
    received = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while b"\n" not in received and selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(pipe.fileno(), CHUNK)
            if not chunk:
                break
            received += chunk
    return received.decode(errors="replace").partition("\n")[0].strip()


def descendants(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """`processes` and their running descendants, each once."""
    found = {each.pid: each for each in processes}
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            children[process.ppid()].append(process)
    parents = list(found)
    for pid in parents:  # grows while it is gone through
        for child in children[pid]:
            if child.pid not in found:
                found[child.pid] = child
                parents.append(child.pid)
    return list(found.values())


def carrying(variable: str, value: str) -> list[psutil.Process]:
    """The processes of this user whose environment has `variable` set to `value`.

    Children inherit it, and so do those that left their parent and its session: a daemon is found by it.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(variable) == value:
                found.append(process)
    return found


def kill_all(running: Sequence[psutil.Process]) -> None:
    """Kill processes and wait until they have ended."""
    for process in running:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(running, timeout=STOP_SECONDS)


def _refuse_unless_executable(name: str, cwd: Path | None) -> None:
    """Raise `ProgramError` if there is no program `name`: `setpriv` would only say so in the log."""
    if shutil.which(name if os.sep not in name else (cwd or Path()) / name) is None:
        raise ProgramError(f"{name} cannot be started: there is no such program")


def _family(program: Program) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return descendants([psutil.Process(program.pid)])
    return []


def _kill_rest(program: Program, family: Sequence[psutil.Process]) -> None:
    """Kill the remaining processes of a program that has ended: its session, and descendants in other sessions."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)
    kill_all(family)


def _pdeathsig_prefix() -> list[str]:
    in_main_thread = threading.current_thread() is threading.main_thread()
    found = shutil.which("setpriv") if sys.platform == "linux" and in_main_thread else None
    return [found, "--pdeathsig", "TERM"] if found else []
