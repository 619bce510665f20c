"""The TCP sockets of this machine: who listens on which port, and who is connected to whom here.

On Linux read from /proc in one pass: psutil reads the kernel's table of all connections, also of those that are over,
once for each process, which takes a second on a machine that is under load.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

PROC = Path("/proc")
LISTEN, ESTABLISHED = b"0A", b"01"


class Socket(NamedTuple):
    """A socket of the process `pid` that listens on `port`, or is connected to `remote_port` of this machine."""

    pid: int
    port: int
    remote_port: int | None = None

    @property
    def listens(self) -> bool:
        """Whether it listens; else it is connected."""
        return self.remote_port is None


def tcp_sockets() -> list[Socket]:
    """The listening sockets, and those connected to another of this machine, as far as this user may see them."""
    return list(_from_proc() if sys.platform == "linux" else _from_psutil())


def _from_proc() -> Iterator[Socket]:
    ports: dict[bytes, tuple[int, int | None]] = {}
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / "net" / name).read_bytes().splitlines()[1:]:
                fields = line.split(None, 10)
                (host, _, port), (remote_host, _, remote_port) = fields[1].partition(b":"), fields[2].partition(b":")
                if fields[3] == LISTEN:
                    ports[fields[9]] = int(port, 16), None
                elif fields[3] == ESTABLISHED and host == remote_host:
                    ports[fields[9]] = int(port, 16), int(remote_port, 16)
    for pid in filter(str.isdigit, os.listdir(PROC)):  # noqa: PTH208  pathlib takes three times as long
        with suppress(OSError):  # it has ended, or belongs to another user
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    found = os.readlink(descriptor.path)  # noqa: PTH115
                    if found.startswith("socket:[") and (each := ports.get(found[8:-1].encode())):
                        yield Socket(int(pid), *each)


def _from_psutil() -> Iterator[Socket]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            for each in process.net_connections("tcp"):
                if each.status == psutil.CONN_LISTEN:
                    yield Socket(process.pid, each.laddr.port)
                elif each.status == psutil.CONN_ESTABLISHED and each.laddr.ip == each.raddr.ip:
                    yield Socket(process.pid, each.laddr.port, each.raddr.port)
