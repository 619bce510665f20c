"""Free TCP ports of this machine."""

import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A TCP port on which no process listens. The system chooses it at random, so it is unlikely to be taken soon."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def accepts_connections(port: int, seconds: float = 1.0) -> bool:
    """Whether something on this machine accepts a TCP connection to `port` within `seconds`."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=seconds):
            return True
    except OSError:
        return False
