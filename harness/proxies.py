"""TCP proxies that delay, hold, cut or lose what passes between two processes of this machine, by pair.

A proxy stands before a listener and accepts from anybody. Who has connected is asked of the kernel, once for each
connection: the process that owns the other end of it, or the one that has started that. So all that one process
sends another is a link of its own, which can be disturbed while all others go on. Only on Linux, without rights.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from harness.ports import LOOPBACK
from harness.sockets import Connection, owner

Result = TypeVar("Result")

CHUNK = 64 * 1024
STRANGER = "stranger"
# The first element of a command that writes, as it is in MongoDB's messages: a string (2) with this name.
INSERT = b"\x02insert\x00"


@dataclass(eq=False)
class Link:
    """What becomes of the bytes of all connections that one process has opened to another."""

    delay: float = 0.0  # seconds that each piece waits, in both directions
    is_cut: bool = False  # connections are reset, and new ones too
    replies_to_lose: int = 0  # the next so many inserts arrive, and their replies do not: the connection ends instead
    connections: "set[_Proxied]" = field(default_factory=set)
    passes: asyncio.Event = field(default_factory=asyncio.Event)  # not set: everything waits, as in a partition

    def __post_init__(self) -> None:
        self.passes.set()


class _Proxied:
    """Two ends, and the link between them."""

    def __init__(self, link: Link, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._link = link
        self._ends = near, far
        self._loses_reply = False

    async def requests(self, reader: asyncio.StreamReader) -> None:
        """Pass on what the process that has connected sends."""
        await self._pass(reader, self._ends[1], self._note_insert)

    async def replies(self, reader: asyncio.StreamReader) -> None:
        """Pass on what comes back."""
        await self._pass(reader, self._ends[0], lambda data: self._loses_reply)

    def reset(self) -> None:
        """End both connections at once."""
        for end in self._ends:
            end.transport.abort()

    def _note_insert(self, data: bytes) -> bool:
        if self._link.replies_to_lose and INSERT in data:
            self._link.replies_to_lose -= 1
            self._loses_reply = True
        return False

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_last: Callable[[bytes], bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._link.delay:
                    await asyncio.sleep(self._link.delay)
                await self._link.passes.wait()
                if is_last(data):
                    break
                writer.write(data)
                await writer.drain()
        self.reset()


class Proxies:
    """The proxies of one experiment, run by a thread of their own during a `with` block.

    Processes have names: give each that connects with `know`. All others are STRANGER.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: dict[tuple[str, str], Link] = {}
        self._pids: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def know(self, pid: int, name: str) -> None:
        """Let `name` be the process `pid` from now on, and all that it starts."""
        self._pids = {**self._pids, name: pid}  # not changed in place: another thread goes through it

    def listen(self, to: str, port: int) -> int:
        """Start a proxy before `port`, at which the process called `to` listens; return the proxy's port."""
        return self._do(self._listen(to, port))

    @contextlib.contextmanager
    def held(self, *pairs: tuple[str, str]) -> Iterator[None]:
        """Let nothing pass from the first to the second of each pair, nor back, while the block runs.

        What is sent waits, as it does in a network that is parted.
        """
        self._each(pairs, lambda link: link.passes.clear())
        try:
            yield
        finally:
            self._each(pairs, lambda link: link.passes.set())

    @contextlib.contextmanager
    def cut(self, *pairs: tuple[str, str]) -> Iterator[None]:
        """Reset the connections of `pairs`, and refuse new ones, while the block runs."""
        self._each(pairs, _cut)
        try:
            yield
        finally:
            self._each(pairs, lambda link: setattr(link, "is_cut", False))

    @contextlib.contextmanager
    def slow(self, seconds: float, *pairs: tuple[str, str]) -> Iterator[None]:
        """Delay each piece that passes by `seconds`, in both directions, while the block runs."""
        self._each(pairs, lambda link: setattr(link, "delay", seconds))
        try:
            yield
        finally:
            self._each(pairs, lambda link: setattr(link, "delay", 0.0))

    def lose_replies(self, count: int, *pairs: tuple[str, str]) -> None:
        """Lose the replies to the next `count` inserts of each pair: they are executed, and the connection ends."""
        self._each(pairs, lambda link: setattr(link, "replies_to_lose", count))

    def count(self, pair: tuple[str, str]) -> int:
        """How many connections of this pair are open."""
        link = self._links.get(pair)
        return len(link.connections) if link else 0

    def _each(self, pairs: Iterable[tuple[str, str]], change: Callable[[Link], None]) -> None:
        async def work() -> None:
            for pair in pairs:
                change(self._link(*pair))

        self._do(work())

    def _do(self, work: "Coroutine[Any, Any, Result]") -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _link(self, from_: str, to: str) -> Link:
        return self._links.setdefault((from_, to), Link())

    async def _listen(self, to: str, port: int) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                with contextlib.suppress(OSError, asyncio.CancelledError):  # cancelled only at the very end
                    await self._connect(to, port, reader, writer)
            finally:
                self._tasks.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(accept, LOOPBACK, 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _connect(self, to: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = (writer.get_extra_info(name) for name in ("peername", "sockname"))
        (host, near), (proxy, here) = ((socket.inet_aton(end[0]), end[1]) for end in ends)
        link = self._link(self._name(Connection(host, near, proxy, here)), to)
        if link.is_cut:
            return
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port)
        connection = _Proxied(link, writer, far_writer)
        link.connections.add(connection)
        try:
            await asyncio.gather(connection.requests(reader), connection.replies(far_reader))
        finally:
            link.connections.discard(connection)
            far_writer.transport.abort()

    def _name(self, near: Connection) -> str:
        """The name of the process that has opened a connection."""
        for name, pid in self._pids.items():
            if owner(near, _family(pid)) is not None:
                return name
        return STRANGER

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _cut(link: Link) -> None:
    link.is_cut = True
    for connection in link.connections:
        connection.reset()


def _family(pid: int) -> Iterator[int]:
    """A process and its descendants, as far as they run: read from /proc, because there is no time for more."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))
