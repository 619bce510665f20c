"""Finds the processes that listen on a port or serve a URL, and measures their CPU time."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psutil


@dataclass
class Processes:
    """The processes that take part in a run, by role (`server`, `mongod`, `locust`)."""

    roles: dict[str, list[psutil.Process]]

    def cpu_seconds(self) -> list[tuple[str, int, float]]:
        """Tuples (role, pid, CPU seconds) of the processes that still run; CPU time is user plus system time so far."""
        used = [(role, each.pid, _cpu_seconds(each)) for role, them in self.roles.items() for each in them]
        return [(role, pid, seconds) for role, pid, seconds in used if seconds is not None]

    def pids(self) -> dict[str, list[int]]:
        """The process ids of each role."""
        return {role: [process.pid for process in each] for role, each in self.roles.items()}


def behind(url: str) -> Processes:
    """Find the processes of this machine that serve `url` (`server`), and the mongod that they use (`mongod`).

    They are found by their sockets: the server listens on the port of `url`, and mongod on a port to which the server
    is connected. Processes of other machines or users are not found, and the list of their role is then empty.
    """
    try:
        port = urlsplit(url).port or 80
    except ValueError:  # not a valid port
        return Processes({"server": [], "mongod": []})
    listening: dict[int, list[psutil.Process]] = defaultdict(list)
    connected: dict[int, set[int]] = defaultdict(set)
    for process, connection in _tcp_connections():
        if connection.status == psutil.CONN_LISTEN:
            listening[connection.laddr.port].append(process)
        elif connection.raddr:
            connected[process.pid].add(connection.raddr.port)
    servers = listening[port]
    behind_them = {each for server in servers for remote in connected[server.pid] for each in listening[remote]}
    return Processes({"server": servers, "mongod": [each for each in behind_them if "mongod" in each.name()]})


def listeners(port: int) -> list[psutil.Process]:
    """The processes that listen on the TCP port `port`, as far as this user is permitted to see them."""
    return [
        process
        for process, connection in _tcp_connections()
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]


def listening_ports(process: psutil.Process) -> list[int]:
    """The TCP ports on which `process` listens."""
    return [each.laddr.port for each in _connections_of(process) if each.status == psutil.CONN_LISTEN]


def _tcp_connections() -> Iterator[tuple[psutil.Process, Any]]:
    for process in psutil.process_iter():
        for connection in _connections_of(process):
            yield process, connection


def _connections_of(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("tcp")
    except psutil.Error:
        return []  # the process has ended, or belongs to another user


def _cpu_seconds(process: psutil.Process) -> float | None:
    """User plus system time of a process; None if it has ended, zombies included."""
    try:
        times = process.cpu_times()
        return None if process.status() == psutil.STATUS_ZOMBIE else float(times.user + times.system)
    except psutil.Error:
        return None
