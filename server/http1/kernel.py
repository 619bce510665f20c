"""Asks the kernel which bytes of a connection are unread or untaken, and has it begin no more connections."""

import contextlib
import ctypes
import fcntl
import socket
import struct
import sys
import termios
from asyncio import Transport

SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python does not name it
# A program of the classic packet filter (linux/filter.h), each instruction a code, two jumps and an operand: what has
# SYN, and not ACK, among the flags in byte 13 of the TCP header asks for a new connection, and is dropped.
DROP_NEW_CONNECTIONS = [
    (0x30, 0, 0, 13),  # load the byte
    (0x54, 0, 0, 0x12),  # and it with ACK and SYN
    (0x15, 0, 1, 0x02),  # unless only SYN is left, jump over the next
    (0x06, 0, 0, 0),  # keep nothing of the packet
    (0x06, 0, 0, 2**32 - 1),  # keep all of it
]


def stop_connecting(listening: socket.socket) -> None:
    """Have the kernel begin no more connections to `listening`, for whatever processes share it, on Linux.

    Between the last `accept` and `close` others would connect, send, and be reset. Who is dropped here tries again a
    second later, and is refused.
    """
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *each) for each in DROP_NEW_CONNECTIONS)
    memory = ctypes.create_string_buffer(program)
    with contextlib.suppress(OSError):  # some sandboxes forbid it: then a few may be reset
        pointer = struct.pack("HP", len(DROP_NEW_CONNECTIONS), ctypes.addressof(memory))
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)


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
