"""Streams that write soon and read no more than once, and the loop that keeps readers: on real sockets."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from server.connections import Loop, Stream
from tests.waiting import until

ROOM = 8 * 1024
MORE_THAN_THE_KERNEL_TAKES = bytes(range(256)) * 40_000


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets, connected with each other."""
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.setblocking(False)
        yield ours, peer


def stream_on(ours: socket.socket) -> Stream:
    Loop()
    return Stream(ours, read_chunk_size=ROOM)


async def received(peer: socket.socket, length: int) -> bytes:
    """The next `length` bytes, or fewer if they end before."""
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(20):
        while len(data) < length and (chunk := await loop.sock_recv(peer, length - len(data))):
            data += chunk
    return data


@pytest.mark.asyncio
async def test_what_is_written_soon_goes_out_in_the_next_turn_and_in_order(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, peer = ends
    stream, written = stream_on(ours), []
    stream.write_soon(b"first ", lambda: written.append(1))
    stream.write_soon(b"second ", lambda: written.append(2))
    assert written == []
    with pytest.raises(BlockingIOError):
        peer.recv(1)
    await until(lambda: written == [1, 2])
    stream.write_soon(b"third ", lambda: written.append(3))
    await stream.write(b"fourth")
    assert await received(peer, 25) == b"first second third fourth"
    assert written == [1, 2, 3]
    stream.close()


@pytest.mark.asyncio
async def test_what_a_slow_caller_does_not_take_is_written_as_it_reads(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, peer = ends
    stream, written = stream_on(ours), []
    stream.write_soon(MORE_THAN_THE_KERNEL_TAKES, lambda: written.append(1))
    await until(stream.writing)
    stream.write_soon(b"and more", lambda: written.append(2))
    await asyncio.sleep(0)
    assert written == []
    length = len(MORE_THAN_THE_KERNEL_TAKES) + len(b"and more")
    assert await received(peer, length) == MORE_THAN_THE_KERNEL_TAKES + b"and more"
    await until(lambda: written == [1, 2])
    stream.close()


@pytest.mark.asyncio
async def test_a_stream_that_is_closed_first_sends_what_was_to_be_written_soon(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, peer = ends
    stream, written = stream_on(ours), []
    stream.write_soon(b"goodbye", lambda: written.append(1))
    stream.close()
    assert written == [1]
    assert await received(peer, 100) == b"goodbye"


@pytest.mark.parametrize("when", ["before", "between", "after"])
@pytest.mark.asyncio
async def test_whoever_writes_to_a_caller_who_has_gone_is_told_that_it_is_over(
    ends: tuple[socket.socket, socket.socket], when: str
) -> None:
    ours, peer = ends
    stream, written = stream_on(ours), []
    if when == "before":
        stream.close()
    if when == "between":
        peer.close()
    stream.write_soon(MORE_THAN_THE_KERNEL_TAKES, lambda: written.append(1))
    if when == "after":
        await until(stream.writing)
        peer.close()
    await until(lambda: written == [1])
    assert stream.closed()


@pytest.mark.parametrize("length", [1, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM])
@pytest.mark.asyncio
async def test_all_that_comes_is_read_in_whatever_pieces_it_comes(
    ends: tuple[socket.socket, socket.socket], length: int
) -> None:
    ours, peer = ends
    loop, stream = asyncio.get_running_loop(), stream_on(ours)
    sent = (bytes(range(251)) * 100)[:length]
    for _ in range(3):
        await loop.sock_sendall(peer, sent)
        assert await asyncio.wait_for(stream.read_bytes(length), 20) == sent
    reading = stream.read_bytes(2 * length)
    await loop.sock_sendall(peer, sent)
    await asyncio.sleep(0)
    await loop.sock_sendall(peer, sent)
    assert await asyncio.wait_for(reading, 20) == sent * 2
    await loop.sock_sendall(peer, sent)
    peer.close()
    assert await asyncio.wait_for(stream.read_until_close(), 20) == sent
    assert stream.closed()


@pytest.mark.asyncio
async def test_a_reader_that_is_not_wanted_is_kept_until_something_comes(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, peer = ends
    ours.setblocking(False)
    loop, got = Loop(), []
    loop.add_handler(ours, lambda *_: got.append(ours.recv(100)), IOLoop.READ)
    loop.update_handler(ours, IOLoop.ERROR)
    assert loop.readers == {ours.fileno()}
    loop.update_handler(ours, IOLoop.READ)
    peer.send(b"wanted")
    await until(lambda: got == [b"wanted"])

    loop.update_handler(ours, IOLoop.ERROR)
    peer.send(b"not wanted yet")
    await until(lambda: not loop.readers)
    assert got == [b"wanted"]
    loop.update_handler(ours, IOLoop.READ)
    await until(lambda: got == [b"wanted", b"not wanted yet"])

    loop.update_handler(ours, IOLoop.ERROR)
    loop.remove_handler(ours)
    assert not loop.readers
    loop.add_handler(ours, lambda *_: got.append(ours.recv(100)), IOLoop.READ)
    peer.send(b"again")
    await until(lambda: got[-1] == b"again")
    loop.remove_handler(ours)
