"""The sockets of this machine: who listens, and who is connected to whom."""

import os
import socket

from harness.sockets import Socket, tcp_sockets


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
