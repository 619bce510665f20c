"""Finds the processes that listen on a port or serve a URL, and measures their CPU time."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from harness.processes import descendants
from harness.sockets import tcp_sockets

_CPUCLOCK_SCHED = 2  # in Linux's include/linux/posix-timers_types.h


@dataclass
class Processes:
    """The processes that take part in a run, by role (`server`, `mongod`, `locust`)."""

    roles: dict[str, list[psutil.Process]]

    def pids(self) -> dict[str, list[int]]:
        """The process ids of each role."""
        return {role: [process.pid for process in each] for role, each in self.roles.items()}


@dataclass
class _Seen:
    """The last sample of a process: its own CPU time, that of the children it has waited for, and its parent."""

    own: float
    reaped: float
    parent: int


class CpuMeter:
    """Measures the CPU time of processes, including children that started and ended between two samples.

    When a process waits for a child that has ended, the kernel adds the child's CPU time to the parent's "children"
    times. What of this was in no sample of the child itself is counted for the parent.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}
        self._at_first: dict[int, float] = {}
        self._known: dict[int, float] = {}  # CPU time of the ended children of each, as it was last seen
        self._missed: dict[int, float] = {}

    def cpu_seconds(self, processes: Sequence[psutil.Process]) -> list[tuple[int, float]]:
        """The pid and CPU time so far, in seconds of user and system time, of each of `processes` that still runs."""
        now = {each.pid: seen for each in processes if (seen := _look(each)) is not None}
        for pid in set(self._seen) - set(now):
            ended = self._seen.pop(pid)
            self._known[ended.parent] = self._known.get(ended.parent, 0.0) + ended.own
        self._seen |= now
        found = []
        for pid, seen in now.items():
            first = self._at_first.setdefault(pid, seen.reaped)
            missed = seen.reaped - first - self._known.get(pid, 0.0)
            self._missed[pid] = max(self._missed.get(pid, 0.0), missed)
            found.append((pid, seen.own + self._missed[pid]))
        return found


def behind(url: str) -> Processes:
    """Find the processes of this machine that serve `url` (`server`), and those that they are connected to.

    They are found by their sockets: a server process listens on the port of `url`, or is a child of one that does. A
    process to whose port they are connected has the role `mongod`, if that is its name, else `database`. Processes of
    other machines or users are not found, and the list of their role is then empty.
    """
    nobody: dict[str, list[psutil.Process]] = {"server": [], "mongod": [], "database": []}
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # not a valid port
        return Processes(nobody)
    listening: dict[int, set[int]] = defaultdict(set)
    connected: dict[int, set[int]] = defaultdict(set)
    for each in tcp_sockets():
        if each.remote_port is None:
            listening[each.port].add(each.pid)
        else:
            connected[each.pid].add(each.remote_port)
    servers = descendants(_processes(listening[port]))
    pids = {each.pid for each in servers}
    behind_them = {one for pid in pids for remote in connected[pid] for one in listening[remote]} - pids
    found = nobody | {"server": servers}
    for process in _processes(behind_them):
        found["mongod" if "mongod" in process.name() else "database"].append(process)
    return Processes(found)


def listeners(port: int) -> list[psutil.Process]:
    """The processes that listen on the TCP port `port`, as far as this user may see them."""
    return _processes({each.pid for each in tcp_sockets() if each.listens and each.port == port})


def listening_ports(process: psutil.Process) -> list[int]:
    """The TCP ports on which `process` listens."""
    return sorted({each.port for each in tcp_sockets() if each.listens and each.pid == process.pid})


def _processes(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in sorted(pids):
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def cpu_seconds(process: psutil.Process) -> float:
    """The CPU time that `process` has used so far; 0 if it has ended."""
    seen = _look(process)
    return seen.own if seen else 0.0


def _look(process: psutil.Process) -> _Seen | None:
    """A sample of a process; None if it has ended, zombies included."""
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            times = process.cpu_times()
            reaped = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            return _Seen(_cpu_clock(process.pid) or times.user + times.system, reaped, process.ppid())
    except psutil.Error:
        return None


def _cpu_clock(pid: int) -> float | None:
    """The CPU time of a process by its CPU clock, in seconds; None if it has ended, or if the system has no such clock.

    It counts nanoseconds. /proc counts hundredths of a second, and in a run of two seconds that is a tenth of what a
    server uses at 200 requests/s. The clock is the one that clock_getcpuclockid(3) names.
    """
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:
        return None
