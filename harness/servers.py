"""Start any HTTP server from a command line, wait until it answers, and stop it."""

import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from harness import processes, watch
from harness.ports import LOOPBACK, free_port
from harness.processes import Program, ProgramError

START_SECONDS = 90.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
ANSWER_SECONDS = 5.0
QUOTED_LINES = 5


@dataclass(frozen=True)
class Server:
    """A running server with its base `url`, which has no slash at the end."""

    url: str
    program: Program

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process of the command."""
        return self.program.process

    @property
    def pid(self) -> int:
        """The id of the command's process."""
        return self.program.pid

    @property
    def log(self) -> Path:
        """The file with the server's output."""
        return self.program.log


def start(
    command: str | Sequence[str],
    log: Path,
    *,
    ready: str = "/",
    data: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    seconds: float = START_SECONDS,
) -> Server:
    """Start the server `command` and return when it answers GET `ready`; stop it with `processes.stop`.

    `{port}` in the command is replaced by a free port, and `{data}` by the path `data`. A status below 500 counts as
    ready, if the command's own processes listen on the port. Raises `ProgramError`, with the last lines of the server's
    output, if it ends or is not ready within `seconds`, or if another program has taken the port.
    """
    port = free_port()
    words = shlex.split(command) if isinstance(command, str) else list(command)
    filled = [each.replace("{port}", str(port)).replace("{data}", str(data or "")) for each in words]
    if not filled:
        raise ProgramError("the command is empty: give the program that starts the server")
    program = processes.start(filled, log, environment=environment, cwd=cwd)
    try:
        _wait_until_ready(program, port, ready, seconds)
    except BaseException:
        processes.kill(program)
        raise
    return Server(f"http://{LOOPBACK}:{port}", program)


@contextmanager
def running(
    command: str | Sequence[str],
    log: Path,
    *,
    ready: str = "/",
    data: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    seconds: float = START_SECONDS,
) -> Iterator[Server]:
    """Run a server during the block: see `start`."""
    server = start(command, log, ready=ready, data=data, environment=environment, cwd=cwd, seconds=seconds)
    with stopped_afterwards(server):
        yield server


@contextmanager
def stopped_afterwards(server: Server) -> Iterator[None]:
    """Stop `server` and its descendants at the end of the block."""
    try:
        yield
    finally:
        processes.stop(server.program, STOP_SECONDS)


def direct_session() -> requests.Session:
    """A `requests` session that ignores the proxies of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session


def _wait_until_ready(program: Program, port: int, ready: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    url, answered = f"http://{LOOPBACK}:{port}/{ready.lstrip('/')}", "no connection"
    with direct_session() as session:
        while program.is_running:
            try:
                # Redirects are not followed: they count as ready, and may lead to another machine.
                with session.get(url, timeout=ANSWER_SECONDS, allow_redirects=False, stream=True) as response:
                    answered = f"the last status was {response.status_code}"
                    if response.status_code < 500 and _is_ours(program, port):
                        return
            except requests.RequestException:
                pass
            if time.monotonic() > deadline:
                raise ProgramError(f"no response to GET {ready} within {seconds:g} s ({answered})" + _quoted(program))
            time.sleep(POLL_SECONDS)
    raise ProgramError(f"the server ended with exit code {program.process.returncode}" + _quoted(program))


def _is_ours(program: Program, port: int) -> bool:
    """Whether the program listens on `port`. Raises `ProgramError` if another program does.

    A listener that was started after the program counts as its own, since a container is started by a daemon.
    """
    try:
        started = psutil.Process(program.pid).create_time()
    except psutil.Error:
        return False
    found = watch.listeners(port)
    if found and all(_is_older(each, started) for each in found):
        raise ProgramError(f"another program (pid {found[0].pid}) has taken port {port}: try again")
    return True


def _is_older(process: psutil.Process, started: float) -> bool:
    try:
        return process.create_time() < started
    except psutil.Error:
        return False


def _quoted(program: Program) -> str:
    lines = program.last_lines(QUOTED_LINES)
    return ("; its output:\n" + "\n".join(f"    {line}" for line in lines)) if lines else "; it printed nothing"
