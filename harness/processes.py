"""Start programs, read what they say, and stop them with everything that they have started.

A program runs in a session of its own: Ctrl-C in the terminal reaches only whoever started it, who then stops it. On
Linux the kernel also terminates it should its starter be killed (`PR_SET_PDEATHSIG`, set by `setpriv`).
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
    """A program could not be started, or did not do its work. The text is one line that says why."""


@dataclass(frozen=True)
class Program:
    """A running program. `log` is the file that holds what it wrote to stderr, and to stdout unless that is a pipe."""

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
        """The last lines that the program wrote to its log, oldest first; fewer if there are not so many."""
        return self.log.read_text(errors="replace").strip().splitlines()[-count:]


def start(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pipes: bool = False,
) -> Program:
    """Start `command`, which must be stopped with `stop` or `kill`.

    `environment` is added to that of this process. Standard input is empty, and output goes to `log`; with `pipes`
    stdin and stdout are pipes instead. Raises `ProgramError` if there is no such program.

    The kernel's signal is sent when the thread ends that has started a program, so only the main thread asks for it.
    """
    _refuse_unless_executable(command[0], cwd)
    ours, theirs = (subprocess.PIPE, subprocess.PIPE) if pipes else (subprocess.DEVNULL, None)
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                [*_ends_with_its_starter(), *command],
                stdin=ours,
                stdout=theirs or output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramError(f"{command[0]} cannot be started: {error.strerror}") from error
    return Program(process, log)


def stop(program: Program, seconds: float = STOP_SECONDS) -> int:
    """Ask the program to end (SIGTERM) and return its exit code; kill it and all it has started after `seconds`."""
    family = _family(program)
    returncode = end(program.process, seconds)
    _kill_rest(program, family)
    return returncode


def kill(program: Program) -> None:
    """Kill the program (SIGKILL), and all that it has started, at once."""
    family = _family(program)
    end(program.process, 0)
    _kill_rest(program, family)


def end(process: "subprocess.Popen[Any]", seconds: float = STOP_SECONDS) -> int:
    """Terminate a child process and return its exit code; kill it if it still runs after `seconds`."""
    if seconds > 0:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    process.kill()  # does nothing to a process that has ended
    returncode = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    return returncode


def run(command: Sequence[str], *, accept: Sequence[int] = (0,)) -> str:
    """Run `command` to its end and return its stdout. Raises `ProgramError` with the last line of its stderr."""
    result = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode not in accept:
        lines = result.stderr.strip().splitlines()
        said = lines[-1].removeprefix("Error: ") if lines else f"exit code {result.returncode}, without a word"
        raise ProgramError(said)
    return result.stdout


def first_line(pipe: IO[bytes], seconds: float) -> str:
    """The first line that comes through `pipe`, or what there is of it when the pipe ends or `seconds` are over."""
    deadline = time.monotonic() + seconds
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while b"\n" not in said and selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(pipe.fileno(), CHUNK)
            if not chunk:
                break
            said += chunk
    return said.decode(errors="replace").partition("\n")[0].strip()


def descendants(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """`processes`, and all that they have started and that still runs, each once."""
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


def kill_all(running: Sequence[psutil.Process]) -> None:
    """Kill these processes, as far as they still run, and wait until they have ended."""
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
    """Kill what a program that has ended left behind: its session, and those of its children that left the session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)
    kill_all(family)


def _ends_with_its_starter() -> list[str]:
    in_main_thread = threading.current_thread() is threading.main_thread()
    found = shutil.which("setpriv") if sys.platform == "linux" and in_main_thread else None
    return [found, "--pdeathsig", "TERM"] if found else []
