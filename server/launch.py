"""Start and stop servers, for notebooks, tests and load tests."""

import asyncio
import atexit
import os
import secrets
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from server import mongod
from server.settings import Settings, flag, from_environment, is_secret, variable
from server.store import drop_database

START_SECONDS = 90.0
STOP_SECONDS = 60.0
# A launched server shares the machine with what measures it, and must not outlive whoever launched it.
DEFAULTS = {"port": 0, "access_log": "off", "allow_profiling": "on", "until_stdin_closes": "on"}


class LaunchError(Exception):
    """The server did not start. The text is what it said last."""


@dataclass(frozen=True)
class RunningServer:
    """A server that answers at `url`. `log` is the file that holds its stderr."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process to measure, and to profile."""
        return self.process.pid


@contextmanager
def running(log: Path | None = None, program: Sequence[str] = ("server",), **settings: Any) -> Iterator[RunningServer]:
    """A server with `settings` (names as in `Settings`), while the block runs.

    What is not given comes from the LAB_ variables, and else from `DEFAULTS`. Should the calling process
    be killed, its servers stop too. `program` is what runs: another module may wrap `python -m server`,
    with flags of its own before the server's. Raises `LaunchError`, or `TypeError` for an unknown setting.
    """
    with tempfile.TemporaryDirectory(prefix="backend-lab-") as folder:
        server = start(log or Path(folder) / "server.log", program, **settings)
        try:
            yield server
        finally:
            stop(server)


def mongodb_uri() -> str:
    """The MongoDB that the LAB_ variables name, or the embedded one, kept running until this process ends.

    Raises `server.mongod.MongodError`.
    """
    settings = from_environment()
    place = mongod.given_or_running(settings.mongodb_uri, settings.data_dir, settings.mongod)
    uri = place.__enter__()
    # Only files are held open, and a process that is killed drops them too.
    atexit.register(place.__exit__, None, None, None)
    return uri


def migrate(mongodb_uri: str, database: str) -> None:
    """Bring `database` up to date, with `python -m migrations up`. Raises `LaunchError`.

    The command is the interface: migrations know the server, and not the other way round.
    """
    command = [sys.executable, "-m", "migrations", "up", "--mongodb-uri", mongodb_uri, "--database", database]
    result = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines()
        raise LaunchError(f"the database could not be brought up to date: {lines[-1] if lines else 'no word why'}")


@contextmanager
def scratch_database(prefix: str) -> Iterator[tuple[str, str]]:
    """A new, migrated database on `mongodb_uri()` while the block runs; gives the address and its name."""
    uri, name = mongodb_uri(), f"{prefix}_{secrets.token_hex(4)}"
    migrate(uri, name)
    try:
        yield uri, name
    finally:
        # In a thread of its own, because a notebook's has an event loop that runs already.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(drop_database(uri, name))).result()


def start(log: Path, program: Sequence[str] = ("server",), **settings: Any) -> RunningServer:
    """Start a server and return when it listens: see `running`. To be stopped with `stop`."""
    if unknown := set(settings) - {each.name for each in fields(Settings)}:
        raise TypeError(f"the server has no setting {', '.join(sorted(unknown))}")
    command = [sys.executable, "-m", *program]
    environment = dict(os.environ)
    for name, value in (DEFAULTS | settings).items():
        if is_secret(name):
            environment[variable(name)] = str(value)
        else:
            command += [flag(name), str(value)]
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            # Ctrl-C is for the caller, who stops its servers when it has cleaned up.
            start_new_session=True,
        )
    said = _first_line(process, START_SECONDS)
    if not said.startswith("listening on "):
        process.kill()
        process.wait()
        _close_pipes(process)
        lines = log.read_text().strip().splitlines()
        raise LaunchError(lines[-1].removeprefix("Error: ") if lines else "the server ended without a word")
    return RunningServer(said.removeprefix("listening on "), process, log)


def stop(server: RunningServer) -> int:
    """Let `server` finish what it has begun; returns its exit code. Killed if it takes too long."""
    process = server.process
    process.terminate()
    try:
        returncode = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        returncode = process.wait()
    _close_pipes(process)
    return returncode


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _first_line(process: subprocess.Popen[bytes], seconds: float) -> str:
    """What `process` says first, or nothing if it ends or keeps silent."""
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not said.endswith(b"\n") and selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(process.stdout.fileno(), 4096)
            if not chunk:
                break
            said += chunk
    return said.decode().strip()
