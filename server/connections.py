"""Tornado's HTTP server, with connections that cost less: see DECISIONS.md for what each part of this is worth.

Tornado gives each answer to the kernel by itself, asks for a next request before there can be one, and stops
listening to a connection while a body that has arrived waits to be taken.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream
from tornado.platform.asyncio import AsyncIOMainLoop


class Stream(IOStream):
    """A connection on which nothing waits for more to send, but for what is given to `write_soon`."""

    def __init__(self, socket: socket.socket, **limits: Any) -> None:
        super().__init__(socket, **limits)
        super().set_nodelay(True)
        self._soon: list[tuple[bytes, Callable[[], None]]] = []
        self._emptied = False

    def set_nodelay(self, value: bool) -> None:
        """Nothing: Tornado would switch it on for the end of each answer, and off again, by two system calls."""

    def write_soon(self, data: bytes, written: Callable[[], None]) -> None:
        """Write in the event loop's next turn, together with what this turn writes soon on other connections.

        Who waits for an answer is woken when it comes: sent one by one, each costs a wake-up, which is more than
        what it takes to make it. `written` is called when the kernel has all of it, or the connection has ended.
        """
        if not self._soon:
            asyncio.get_running_loop().call_soon(self._write_now)
        self._soon.append((data, written))

    def _write_now(self) -> None:
        soon, self._soon = self._soon, []
        for data, written in soon:
            self._write_and_tell(data, written)

    def _write_and_tell(self, data: bytes, written: Callable[[], None]) -> None:
        if rest := self._not_taken(data):
            super().write(rest).add_done_callback(lambda _: written())
        else:
            written()

    def _not_taken(self, data: bytes) -> bytes:
        """What is left of `data` after one attempt to send it, which on a closed connection is nothing."""
        if self.closed():
            return b""
        try:
            return data if self.writing() else data[self.write_to_fd(memoryview(data)) :]
        except OSError:  # the caller is slow, or has gone: Tornado knows what to do
            return data

    def write(self, data: bytes | memoryview) -> "asyncio.Future[None]":
        self._write_now()  # in the order in which it was asked for
        return super().write(data)

    def close(self, exc_info: Any = False) -> None:
        self._write_now()
        super().close(exc_info)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        # What brought less than there was room for has emptied the connection. To ask again at once is in vain, and
        # who is told that there is nothing waits for the event loop, which knows.
        if self._emptied:
            self._emptied = False
            return None
        room = len(buf)
        count = super().read_from_fd(buf)
        self._emptied = count is not None and 0 < count < room
        return count


class Loop(AsyncIOMainLoop):
    """Tornado's view of the running event loop. Made in it, it is the one that Tornado uses there.

    Whoever wants to hear no more of a connection often does again before anything comes. So a reader is removed
    only when something has come that nobody wants.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unwanted: set[int] = set()

    def update_handler(self, fd: Any, events: int) -> None:
        number, _ = self.split_fd(fd)
        if events & IOLoop.READ:
            self._unwanted.discard(number)
        elif number in self.readers:
            self._unwanted.add(number)
        super().update_handler(fd, events | IOLoop.READ if number in self._unwanted else events)

    def remove_handler(self, fd: Any) -> None:
        self._unwanted.discard(self.split_fd(fd)[0])
        super().remove_handler(fd)

    def _handle_events(self, fd: int, events: int) -> None:
        if events & IOLoop.READ and fd in self._unwanted:
            self._unwanted.discard(fd)
            self.selector_loop.remove_reader(fd)
            self.readers.discard(fd)
        else:
            super()._handle_events(fd, events)


class Server(HTTPServer):
    """Tornado's, on our `Stream`s."""

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        ours = Stream(stream.socket, max_buffer_size=stream.max_buffer_size, read_chunk_size=stream.read_chunk_size)
        super().handle_stream(ours, address)

    def on_close(self, server_conn: object) -> None:
        """Tornado's own does not tell the delegate, which would remember the connection for ever."""
        super().on_close(server_conn)
        if isinstance(self.request_callback, HTTPServerConnectionDelegate):
            self.request_callback.on_close(server_conn)
