"""Accepts connections, and takes them down."""

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import Callable, Iterable

from server.http1.answer import Answer
from server.http1.connection import Connection
from server.http1.reading import Refused, Request

BACKLOG = 128
REAP_SECONDS = 1.0
DRAIN_LOOK_SECONDS = 0.02
RETRY_SECONDS = 1.0
CLOSE_SECONDS = 1.0
# What is short: descriptors of the process or of the system, or memory for a socket.
SHORT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def admit_all(request: Request) -> None:
    """Admit any body."""


class Server:
    """Has `respond` answer each request, and `refuse` what is none.

    `respond` may raise `Refused` before it has begun to answer. `admit` is called with each request that announces a
    body, before any of that is kept, and may raise it too. `caller` says from whom a request is, if not from its peer.
    """

    def __init__(
        self,
        respond: Callable[[Request, Answer], None],
        refuse: Callable[[Refused, Answer], None],
        admit: Callable[[Request], None] = admit_all,
        caller: Callable[[str, Request], str] | None = None,
    ) -> None:
        self.respond = respond
        self.refuse = refuse
        self.admit = admit
        self.caller = caller
        self.is_stopping = False
        self.connections: set[Connection] = set()
        self.unsent_seconds = 0.0  # how long answers have waited to be sent, together
        self._sending: list[tuple[Connection, float]] = []  # those that write in the next turn, and since when
        self._listening: list[socket.socket] = []
        self._accepting: set[asyncio.Task[object]] = set()
        self._none_left = asyncio.Event()

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on `sockets`."""
        for each in sockets:
            each.listen(BACKLOG)
            each.setblocking(False)
            self._listening.append(each)
            self._accept_on(each)

    async def run(self) -> None:
        """End, for ever, what has been awaited for too long. All connections are looked at once a second.

        A timer for each request would cost more than all the looks.
        """
        while True:
            await asyncio.sleep(REAP_SECONDS)
            self._expire()

    def stop(self) -> None:
        """Accept those who have connected by now, and nobody else. On each connection one more request is answered."""
        self.is_stopping = True
        for each in self._listening:
            asyncio.get_running_loop().remove_reader(each)
            with contextlib.suppress(OSError):  # whatever it says, nobody is to wait here any longer
                self._accept(each)
            each.close()
        self._listening.clear()

    async def drained(self) -> None:
        """After `stop`: return when every connection has ended, its caller answered or told so."""
        while self._accepting or self.connections:
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
            self._expire()

    def _expire(self) -> None:
        now = time.perf_counter()
        for each in list(self.connections):
            each.expire(now)

    async def close(self) -> None:
        """Close all connections, at the latest after CLOSE_SECONDS."""
        for each in list(self.connections):
            each.end()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), CLOSE_SECONDS)
        for each in list(self.connections):
            each.abort()

    # What the connections call.

    def opened(self, connection: Connection) -> None:
        """Register an open connection."""
        self.connections.add(connection)
        self._none_left.clear()

    def lost(self, connection: Connection) -> None:
        """Unregister a connection that is closed."""
        self.connections.discard(connection)
        if not self.connections:
            self._none_left.set()

    def sends(self, connection: Connection) -> None:
        """Have `connection` write in the next turn of the event loop, together with all that answer in this one.

        Each write may wake who waits for it, which costs as much as to answer; those that are together wake a caller
        with many connections once.
        """
        if not self._sending:
            asyncio.get_running_loop().call_soon(self._write_together)
        self._sending.append((connection, time.perf_counter()))

    def _write_together(self) -> None:
        sending, self._sending = self._sending, []
        for connection, since in sending:
            try:
                connection.flush()
            except Exception:
                logging.exception("Uncaught exception: a connection is closed")
                connection.abort()
            self.unsent_seconds += time.perf_counter() - since

    # Accepting, by ourselves: at the limit of descriptors uvloop says nothing, and asyncio logs without end.

    def _accept_on(self, listening: socket.socket) -> None:
        if not self.is_stopping:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(BACKLOG):
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in SHORT_OF:
                    raise
                logging.error("no connection can be accepted, the next try is in %s s: %s", RETRY_SECONDS, error)
                loop.remove_reader(listening)
                loop.call_later(RETRY_SECONDS, self._accept_on, listening)
                return
            accepted.setblocking(False)
            opening = loop.create_task(loop.connect_accepted_socket(lambda: Connection(self), accepted))
            self._accepting.add(opening)  # the loop holds only weak references to tasks
            opening.add_done_callback(self._accepting.discard)
