"""What the kernel is told of connections."""

import socket
import sys

import pytest

from server.http1 import kernel
from tests.waiting import eventually


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be told so")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_no_more_connections_are_begun_and_those_there_are_go_on(family: socket.AddressFamily) -> None:
    local = "127.0.0.1" if family is socket.AF_INET else "::1"
    with socket.create_server((local, 0), family=family) as listening:
        where = listening.getsockname()[:2]
        with socket.create_connection(where, timeout=20) as before:
            kernel.stop_connecting(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(where, timeout=0.3)
            accepted, _ = listening.accept()
            accepted.settimeout(20)
            with accepted, accepted.makefile("rb") as arrived:
                accepted.sendall(b"hello")
                assert before.recv(5) == b"hello"
                before.setblocking(False)
                sent = before.send(b"x" * 300_000)
                assert len(arrived.read(sent)) == sent
    eventually(lambda: is_refused(where))


def is_refused(where: tuple[str, int]) -> bool:
    try:
        socket.create_connection(where, timeout=0.3).close()
    except ConnectionRefusedError:
        return True
    return False
