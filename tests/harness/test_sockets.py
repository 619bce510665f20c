"""The sockets of this machine: who listens, and who is connected to whom."""

import os
import socket
import subprocess
import sys

import pytest

from harness.sockets import Socket, UnreadBytes, connections, tcp_sockets


def test_a_listener_and_who_is_connected_to_it_are_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as caller,
        listening.accept()[0],
    ):
        port, own = listening.getsockname()[1], caller.getsockname()[1]
        found = {each for each in tcp_sockets() if each.pid == os.getpid()}
    assert {Socket(os.getpid(), port), Socket(os.getpid(), own, port), Socket(os.getpid(), port, own)} <= found
    assert Socket(os.getpid(), port).listens
    assert not Socket(os.getpid(), own, port).listens


def test_a_listener_on_all_addresses_of_the_newer_protocol_is_found() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        assert Socket(os.getpid(), listening.getsockname()[1]) in tcp_sockets()


def test_a_connection_that_is_over_is_left_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()) as caller, listening.accept()[0]:
            own = caller.getsockname()[1]
        assert not [each for each in tcp_sockets() if own in (each.port, each.remote_port)]


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def unread(port: int) -> list[tuple[int, int]]:
    """Which ends of the connections to `port` hold unread bytes, as (port, remote port)."""
    asking = UnreadBytes()
    try:
        return [(each.port, each.remote_port) for each in asking.of(connections({port}))]
    finally:
        asking.close()


@linux_only
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_bytes_that_nobody_has_read_are_seen_on_the_side_that_does_not_read(
    family: socket.AddressFamily, host: str
) -> None:
    with (
        socket.create_server((host, 0), family=family) as listening,
        socket.create_connection(listening.getsockname()[:2]) as caller,
        listening.accept()[0] as accepted,
    ):
        port, own = listening.getsockname()[1], caller.getsockname()[1]
        assert unread(port) == []
        caller.sendall(b"a request")
        assert unread(port) == [(port, own)]
        accepted.recv(100)
        assert unread(port) == []
        accepted.sendall(b"an answer")
        assert unread(port) == [(own, port)]


@linux_only
def test_those_that_this_process_has_opened_can_be_left_out() -> None:
    """As those on which a diagnosis asks for metrics, which are no part of the load."""
    connect = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with (
            socket.create_connection(listening.getsockname()),
            listening.accept()[0],
            subprocess.Popen([sys.executable, "-c", connect, str(port)], stdin=subprocess.PIPE) as other,
        ):
            with listening.accept()[0] as accepted:
                remote = accepted.getpeername()[1]
                found = {(each.port, each.remote_port) for each in connections({port}, without_own=True)}
            other.communicate()
    assert found == {(port, remote), (remote, port)}


@linux_only
def test_a_connection_that_waits_to_be_accepted_is_among_them() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as caller,
    ):
        caller.sendall(b"a request")
        port = listening.getsockname()[1]
        assert unread(port) == [(port, caller.getsockname()[1])]


@linux_only
def test_a_connection_that_is_closed_meanwhile_holds_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(listening.getsockname()), listening.accept()[0]:
            known = connections({port})
        assert len(known) == 2
        asking = UnreadBytes()
        assert asking.of(known) == []
        asking.close()
