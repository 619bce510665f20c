"""Asks the kernel what it holds of a connection: bytes that we have not read, and bytes that the peer has not taken."""

import fcntl
import struct
import termios
from asyncio import Transport


def unread(transport: Transport) -> int:
    """Bytes that have arrived and that nobody has read."""
    return _ask(transport, termios.FIONREAD)


def untaken(transport: Transport) -> int:
    """Bytes that are written and that the peer's machine has not acknowledged; of the kernel's, only where it tells."""
    return transport.get_write_buffer_size() + _ask(transport, termios.TIOCOUTQ)


def _ask(transport: Transport, question: int) -> int:
    if transport.is_closing():
        return 0
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), question, bytes(4))
    except OSError:  # this system does not tell it of a socket
        return 0
    return int(struct.unpack("i", answer)[0])
