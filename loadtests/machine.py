"""The machine a run was made on, the processes that took part, and the CPU time they used."""

import contextlib
import os
import platform
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

PACKAGES = ("tornado", "motor", "pymongo", "locust", "py-spy", "pandas")


def describe() -> dict[str, Any]:
    """What a reader needs to judge numbers by: processor, memory, system and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def commit() -> str | None:
    """The commit of the code that is measured, with `-dirty` if it was changed since; None outside git."""
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"],
        cwd=Path(__file__).parent,
        check=False,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip() or None


@dataclass
class Processes:
    """Who takes part in a run: the processes of each role (`server`, `mongod`, `locust`)."""

    roles: dict[str, list[psutil.Process]]

    def cpu_seconds(self) -> list[tuple[str, int, float]]:
        """The role, pid, and CPU time so far, in seconds of user and system time, of each that still runs."""
        used = [(role, each.pid, _cpu_seconds(each)) for role, them in self.roles.items() for each in them]
        return [(role, pid, seconds) for role, pid, seconds in used if seconds is not None]

    def pids(self) -> dict[str, list[int]]:
        """The process ids of each role."""
        return {role: [process.pid for process in each] for role, each in self.roles.items()}


def behind(url: str) -> Processes:
    """The processes of this machine that answer at `url`, and the mongod they talk to.

    Found by their sockets: the server listens on the port of `url`, and mongod on one the server is
    connected to. What runs elsewhere, or belongs to another user, is not found; its role is empty.
    """
    try:
        port = urlsplit(url).port or 80
    except ValueError:  # no port that anybody could listen on
        return Processes({"server": [], "mongod": []})
    listening: dict[int, list[psutil.Process]] = defaultdict(list)
    connected: dict[int, set[int]] = defaultdict(set)
    for process in psutil.process_iter():
        try:
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    listening[connection.laddr.port].append(process)
                elif connection.raddr:
                    connected[process.pid].add(connection.raddr.port)
        except psutil.Error:
            continue  # it has ended, or belongs to somebody else
    servers = listening[port]
    behind_them = {each for server in servers for remote in connected[server.pid] for each in listening[remote]}
    return Processes({"server": servers, "mongod": [each for each in behind_them if "mongod" in each.name()]})


def with_children(processes: list[psutil.Process]) -> list[psutil.Process]:
    """`processes`, and what they have started."""
    found = {each.pid: each for each in processes}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found |= {each.pid: each for each in process.children(recursive=True) if each.pid not in found}
    return list(found.values())


def listening_ports(process: psutil.Process) -> list[int]:
    """The TCP ports on which `process` listens."""
    try:
        return [each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []


def kill(process: psutil.Process) -> None:
    """End `process`, if it still runs."""
    with contextlib.suppress(psutil.Error):
        process.kill()


def busy_seconds() -> float:
    """The seconds that the cores of this machine have worked, for whomever, summed over the cores."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def _cpu_seconds(process: psutil.Process) -> float | None:
    """None for a process that has ended, although nobody may have waited for it yet."""
    try:
        times = process.cpu_times()
        return None if process.status() == psutil.STATUS_ZOMBIE else float(times.user + times.system)
    except psutil.Error:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
