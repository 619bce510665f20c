"""One service as an operator runs it: the real command, on a port that it keeps, started again when it has ended."""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from harness import processes
from harness.ports import LOOPBACK, free_port
from harness.processes import ProgramError
from harness.servers import Server
from loadtests import service

WORKERS = 2
START_SECONDS = 90.0
# SIGTERM ends a service within 10 s; the rest is for a busy machine.
END_SECONDS = 15.0
AGAIN_SECONDS = 0.3
# In a line of its own, or within a line of JSON.
TRACEBACK = re.compile(r"Traceback \(most recent call last\):")
QUOTED = 1500


class Service:
    """A service with the name `name`. `program` is the module that runs, `settings` are flags of the service."""

    def __init__(
        self, name: str, folder: Path, program: tuple[str, ...], started: Callable[[int, str], None], **settings: Any
    ) -> None:
        self.name = name
        self.log = folder / f"{name.replace(' ', '-')}.log"
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._program, self._started, self._settings = program, started, settings
        self._server: Server | None = None
        self._read = 0

    @property
    def is_running(self) -> bool:
        """Whether the process of the command has not ended."""
        return self._server is not None and self._server.program.is_running

    @property
    def process(self) -> psutil.Process:
        """The process of the command."""
        assert self._server is not None
        return psutil.Process(self._server.pid)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer, the oldest first."""
        if not self.is_running:
            return []
        return [each for each in self.process.children() if "spawn_main" in " ".join(_command_of(each))]

    def start(self) -> None:
        """Start it unless it runs; again and again, as a supervisor does, while it cannot. Raises `ProgramError`."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_running:
            try:
                self._server = service.start(self.log, self._program, port=self.port, **self._settings)
            except ProgramError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_SECONDS)
            else:
                self._started(self._server.pid, self.name)

    def kill(self) -> None:
        """Kill the process of the command alone (SIGKILL): its workers are to notice."""
        if self._server is not None:
            self._server.process.kill()
            self._server.process.wait()

    def terminate(self) -> str:
        """Let it end (SIGTERM), and wait until it has; why it did not end well, empty if it did."""
        if self._server is None or not self.is_running:
            return ""
        self._server.process.send_signal(signal.SIGTERM)
        code = processes.stop(self._server.program, END_SECONDS)
        return f"{self.name} ended with exit code {code} after SIGTERM" if code else ""

    def close(self) -> None:
        """End it, and all its processes."""
        if self._server is not None:
            processes.kill(self._server.program)

    def new_tracebacks(self) -> list[str]:
        """The tracebacks in its log since this was last asked, shortened."""
        log = self.log.read_text(errors="replace")[self._read :]
        self._read += len(log)
        return [f"{self.name}: {log[each.start() : each.start() + QUOTED]}" for each in TRACEBACK.finditer(log)]


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
