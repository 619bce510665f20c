"""TCP proxies that delay, hold, cut or lose what passes between two processes of this machine, by pair.

A proxy stands before a listener and accepts from anybody. Who has connected is asked of the kernel, once for each
connection: the process that owns the other end of it, or the one that has started that. So all that one process
sends another is a link of its own, which can be disturbed while all others go on. Only on Linux, without rights.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import uvloop

from harness import processes
from harness.ports import LOOPBACK
from harness.processes import Program, ProgramError
from harness.sockets import Connection, owner

Pair = tuple[str, str]
Pairs = Sequence[Pair]

CHUNK = 64 * 1024
END_SECONDS = 5.0
STRANGER = "stranger"
# The first element of a command that writes, as it is in MongoDB's messages: a string (2) with this name.
INSERT = b"\x02insert\x00"


@dataclass(eq=False)
class Link:
    """What becomes of the bytes of all connections that one process has opened to another."""

    delay: float = 0.0  # seconds that each piece waits, in both directions
    is_cut: bool = False  # connections are reset, and new ones too
    replies_to_lose: int = 0  # the next so many inserts arrive, and their replies do not: the connection ends instead
    keeps_replies: bool = False  # inserts arrive, and their replies wait for as long as the connection lasts
    connections: "set[_Proxied]" = field(default_factory=set)
    passes: asyncio.Event = field(default_factory=asyncio.Event)  # not set: everything waits, as in a partition

    def __post_init__(self) -> None:
        self.passes.set()


class _Proxied:
    """Two ends, and the link between them."""

    def __init__(self, link: Link, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._link = link
        self._ends = near, far
        self._loses_reply = self._keeps_reply = False
        self._ended = asyncio.Event()

    async def requests(self, reader: asyncio.StreamReader) -> None:
        """Pass on what the process that has connected sends."""
        await self._pass(reader, self._ends[1], self._note_insert)

    async def replies(self, reader: asyncio.StreamReader) -> None:
        """Pass on what comes back."""
        await self._pass(reader, self._ends[0], self._is_lost)

    def reset(self) -> None:
        """End both connections at once."""
        self._ended.set()
        for end in self._ends:
            end.transport.abort()

    async def _note_insert(self, data: bytes) -> bool:
        if INSERT in data:
            self._keeps_reply = self._link.keeps_replies
            if self._link.replies_to_lose:
                self._link.replies_to_lose -= 1
                self._loses_reply = True
        return False

    async def _is_lost(self, data: bytes) -> bool:
        if self._keeps_reply:
            await self._ended.wait()
        return self._loses_reply or self._keeps_reply

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_last: Callable[[bytes], Awaitable[bool]]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._link.delay:
                    await asyncio.sleep(self._link.delay)
                await self._link.passes.wait()
                if await is_last(data) or writer.is_closing():
                    break
                writer.write(data)
                await writer.drain()
        self.reset()


class _Network:
    """The proxies and their links, in the process that runs them."""

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], Link] = {}
        self._pids: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def know(self, pid: int, name: str) -> None:
        self._pids[name] = pid

    async def hold(self, pairs: Pairs, holds: bool) -> None:
        for link in self._of(pairs):
            (link.passes.clear if holds else link.passes.set)()

    async def cut(self, pairs: Pairs, is_cut: bool) -> None:
        for link in self._of(pairs):
            link.is_cut = is_cut
            for connection in link.connections if is_cut else ():
                connection.reset()

    async def delay(self, pairs: Pairs, seconds: float) -> None:
        for link in self._of(pairs):
            link.delay = seconds

    async def lose_replies(self, pairs: Pairs, count: int) -> None:
        for link in self._of(pairs):
            link.replies_to_lose = count

    async def keep_replies(self, pairs: Pairs, keeps: bool) -> None:
        for link in self._of(pairs):
            link.keeps_replies = keeps

    async def count(self, from_: str, to: str) -> int:
        return len(self._link(from_, to).connections)

    def _of(self, pairs: Pairs) -> list[Link]:
        return [self._link(*pair) for pair in pairs]

    def _link(self, from_: str, to: str) -> Link:
        return self._links.setdefault((from_, to), Link())

    async def listen(self, to: str, port: int) -> int:
        """Start a proxy before `port`, at which the process called `to` listens; return the proxy's port."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                with contextlib.suppress(OSError):
                    await self._connect(to, port, reader, writer)
            finally:
                self._tasks.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(accept, LOOPBACK, 0)
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


def _family(pid: int) -> Iterator[int]:
    """A process and its descendants, as far as they run: read from /proc, because there is no time for more."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))


class Proxies:
    """The proxies of one experiment, run by a process of their own during a `with` block.

    A network waits for nobody, and the process of an experiment is busy; so they have their own, which comes first
    where this user may ask for that. Its errors go to `log`. Processes have names: give each that connects with
    `know`. All others are STRANGER. Methods raise `ProgramError` if the proxies have ended.
    """

    def __init__(self, log: Path = Path(os.devnull)) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._program: Program | None = None

    def __enter__(self) -> Self:
        self._program = processes.start([sys.executable, "-m", "harness.proxies"], self._log, pipes=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._program is None:
            return
        stdin = self._program.process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            stdin.close()  # at its end they end
            self._program.process.wait(END_SECONDS)
        processes.stop(self._program, 0)

    def know(self, pid: int, name: str) -> None:
        """Let `name` be the process `pid` from now on, and all that it starts."""
        self._do("know", pid, name)

    def listen(self, to: str, port: int) -> int:
        """Start a proxy before `port`, at which the process called `to` listens; return the proxy's port."""
        return int(self._do("listen", to, port))

    @contextlib.contextmanager
    def held(self, *pairs: Pair) -> Iterator[None]:
        """Let nothing pass from the first to the second of each pair, nor back, while the block runs.

        What is sent waits, as it does in a network that is parted.
        """
        self._do("hold", pairs, True)
        try:
            yield
        finally:
            self._do("hold", pairs, False)

    @contextlib.contextmanager
    def cut(self, *pairs: Pair) -> Iterator[None]:
        """Reset the connections of `pairs`, and refuse new ones, while the block runs."""
        self._do("cut", pairs, True)
        try:
            yield
        finally:
            self._do("cut", pairs, False)

    @contextlib.contextmanager
    def slow(self, seconds: float, *pairs: Pair) -> Iterator[None]:
        """Delay each piece that passes by `seconds`, in both directions, while the block runs."""
        self._do("delay", pairs, seconds)
        try:
            yield
        finally:
            self._do("delay", pairs, 0.0)

    def lose_replies(self, count: int, *pairs: Pair) -> None:
        """Lose the replies to the next `count` inserts of each pair: they are executed, and the connection ends."""
        self._do("lose_replies", pairs, count)

    @contextlib.contextmanager
    def replies_kept(self, *pairs: Pair) -> Iterator[None]:
        """Keep back the replies to inserts that are sent while the block runs: who has sent them hears nothing more."""
        self._do("keep_replies", pairs, True)
        try:
            yield
        finally:
            self._do("keep_replies", pairs, False)

    def count(self, pair: Pair) -> int:
        """How many connections of this pair are open."""
        return int(self._do("count", *pair))

    def _do(self, name: str, *arguments: Any) -> Any:
        """Let the process do something: a line of JSON to it, and one back."""
        assert self._program is not None, "only in a with block"
        stdin, stdout = self._program.process.stdin, self._program.process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock, contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
            stdin.flush()
            if line := stdout.readline():
                return json.loads(line)
        raise ProgramError("the proxies have ended: see their log")


async def _obey() -> None:
    """Do what comes on standard input, until it ends."""
    network, lines = _Network(), asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        name, *arguments = json.loads(line)
        print(json.dumps(await getattr(network, name)(*arguments)), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_obey())
