"""A mongod for one test or one experiment: with options of its own, in a folder of its own, and no guard."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from harness import mongod, processes
from harness.mongod import REPLICA_SET
from harness.ports import LOOPBACK, free_port

STOP_SECONDS = 30.0
# Lets failpoints be set: right for injected faults, never for the service.
FAILPOINTS = ("--setParameter", "enableTestCommands=1")


@contextmanager
def mongod_running(
    folder: Path, *options: str, prefix: Sequence[str] = (), program: str | None = None
) -> Iterator[tuple[int, psutil.Process]]:
    """A mongod with `options` and its files in `folder`, while the block runs; gives its port and its process.

    It is to be a member of a replica set, which is not configured. `prefix` is a command that runs it, such as strace.
    Raises `MongodError`.
    """
    files, port = folder / "mongod", free_port()
    files.mkdir(parents=True)
    command = [*prefix, *command_of(files, port, *options, program=program)]
    started = processes.start(command, folder / "mongod.log")
    try:
        mongod.wait_for_port(started.process, port)
        yield port, _mongod(started.process)
    finally:
        processes.stop(started, STOP_SECONDS)


def command_of(files: Path, port: int, *options: str, program: str | None = None) -> list[str]:
    """The command that runs a mongod on `port` with its data in `files`. Raises `MongodError` if there is none."""
    command: list[Any] = [
        *(mongod.find(program), "--replSet", REPLICA_SET, "--bind_ip", LOOPBACK, "--port", port, "--nounixsocket"),
        *("--dbpath", files, "--wiredTigerCacheSizeGB", "0.5", "--oplogSize", "64", *options),
    ]
    return [str(word) for word in command]


def _mongod(started: "subprocess.Popen[bytes]") -> psutil.Process:
    """The mongod itself, which `started` is, or runs."""
    family = processes.descendants([psutil.Process(started.pid)])
    return next(each for each in family if "mongod" in each.name())
