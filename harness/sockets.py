"""The TCP sockets of this machine: who listens on which port, and who is connected to whom here.

On Linux read from /proc in one pass: psutil reads the kernel's table of all connections, also of those that are over,
once for each process, which takes a second on a machine that is under load.
"""

import os
import socket
import struct
import sys
from collections.abc import Collection, Iterable, Iterator
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
        for inode in _inodes(pid):
            if each := ports.get(inode):
                yield Socket(int(pid), *each)


def _inodes(pid: str) -> Iterator[bytes]:
    """The inodes of the sockets of a process; none if it has ended, or belongs to another user."""
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
        for descriptor in descriptors:
            with suppress(OSError):
                found = os.readlink(descriptor.path)  # noqa: PTH115
                if found.startswith("socket:["):
                    yield found[8:-1].encode()


def _from_psutil() -> Iterator[Socket]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            for each in process.net_connections("tcp"):
                if each.status == psutil.CONN_LISTEN:
                    yield Socket(process.pid, each.laddr.port)
                elif each.status == psutil.CONN_ESTABLISHED and each.laddr.ip == each.raddr.ip:
                    yield Socket(process.pid, each.laddr.port, each.raddr.port)


class Connection(NamedTuple):
    """One end of an established connection: its own address and port, and the other's, as the kernel keeps them.

    Addresses are in network order, 4 or 16 bytes long.
    """

    address: bytes
    port: int
    remote_address: bytes
    remote_port: int


def connections(ports: Collection[int], without_own: bool = False) -> list[Connection]:
    """Both ends of the established connections of this machine to one of `ports`, also of those not yet accepted.

    With `without_own`, those that this process has opened are left out. None on other systems than Linux. Takes some
    10 ms: the kernel walks through the table of all connections.
    """
    found, own = [], set()
    inodes = set(_inodes("self")) if without_own else set()
    for name in ("tcp", "tcp6") if sys.platform == "linux" else ():
        with suppress(OSError):
            for line in (PROC / "net" / name).read_bytes().splitlines()[1:]:
                _, local, remote, state, *_, inode, _ = line.split(None, 10)
                each = Connection(*_end(local), *_end(remote))
                if state == ESTABLISHED and (each.port in ports or each.remote_port in ports):
                    found.append(each)
                    if inode in inodes and each.remote_port in ports:
                        own.add(each.port)
    return [each for each in found if own.isdisjoint((each.port, each.remote_port))]


def _end(text: bytes) -> tuple[bytes, int]:
    """An address and port as /proc/net/tcp has them: words of 4 bytes in the order of this machine, in hexadecimal."""
    address, _, port = text.partition(b":")
    words = [bytes.fromhex(address[at : at + 8].decode()) for at in range(0, len(address), 8)]
    return b"".join(word[::-1] if sys.byteorder == "little" else word for word in words), int(port, 16)


class UnreadBytes:
    """Asks the kernel which connections hold bytes that nobody has read yet.

    The kernel has received these bytes, and the process to which they belong has not asked for them: it works, waits
    for something else, or has no processor. Asks for single connections by netlink (sock_diag(7)), which takes some
    microseconds for each; the table in /proc takes 10 ms. Only on Linux: raises `OSError` elsewhere.
    """

    def __init__(self) -> None:
        self._netlink = _sock_diag()

    def close(self) -> None:
        """End asking."""
        self._netlink.close()

    def of(self, asked: Iterable[Connection]) -> list[Connection]:
        """Those of `asked` that hold unread bytes; not those that are closed by now."""
        return [each for each in asked if self._bytes(each)]

    def _bytes(self, one: Connection) -> int:
        return _asked(self._netlink, one, _UNREAD_AT)


def owner(one: Connection, among: Iterable[int]) -> int | None:
    """Which of the processes `among` has this end of a connection open; None if none, or if it is closed by now.

    Asks the kernel by netlink, as `UnreadBytes` does. Raises `OSError` on other systems than Linux.
    """
    with _sock_diag() as netlink:
        inode = b"%d" % _asked(netlink, one, _INODE_AT)
    return next((pid for pid in among if inode in _inodes(str(pid))), None)


def _sock_diag() -> socket.socket:
    if sys.platform != "linux":
        raise OSError("only Linux tells about single connections")
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    netlink.settimeout(1.0)
    return netlink


def _asked(netlink: socket.socket, one: Connection, at: int) -> int:
    """The 4 bytes `at` this place in what the kernel tells about a connection, as a number; 0 if it has none."""
    family = socket.AF_INET if len(one.address) == 4 else socket.AF_INET6
    wanted = struct.pack(
        "=BBBxI2s2s16s16sI8s", family, socket.IPPROTO_TCP, 0, _ALL_STATES, one.port.to_bytes(2, "big"),
        one.remote_port.to_bytes(2, "big"), one.address, one.remote_address, 0, _NO_COOKIE,
    )  # fmt: skip
    header = struct.pack("=IHHII", 16 + len(wanted), _SOCK_DIAG_BY_FAMILY, _REQUEST, 0, 0)
    netlink.send(header + wanted)
    answer = netlink.recv(1024)
    kind = int.from_bytes(answer[4:6], sys.byteorder)
    return int.from_bytes(answer[at : at + 4], sys.byteorder) if kind == _SOCK_DIAG_BY_FAMILY else 0


# From Linux's include/uapi/linux/sock_diag.h, netlink.h and inet_diag.h.
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _REQUEST = 4, 20, 1
_ALL_STATES, _NO_COOKIE = 0xFFFFFFFF, b"\xff" * 8
_UNREAD_AT = 16 + 4 + 48 + 4  # idiag_rqueue: after the header, four bytes, the connection, and the timer
_INODE_AT = _UNREAD_AT + 12  # idiag_inode
