"""A server of `server.http1` in a thread, and callers on plain sockets, byte by byte."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http import HTTPStatus
from typing import BinaryIO, NamedTuple

import uvloop
from tornado.testing import bind_unused_port

from server import tasks
from server.http1.answer import Answer
from server.http1.reading import Refused, Request
from server.http1.server import Server

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
GET = b"GET /one HTTP/1.1\r\nHost: lab\r\n\r\n"
POST = b"POST /one HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /one HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


class Answered(NamedTuple):
    """One answer, as a caller has read it."""

    status: int
    headers: dict[str, str]
    body: bytes


class Echo:
    """Answers each request with what was read of it, as soon as it may."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.size = 0  # bytes that are added to each answer
        self._held: list[Callable[[], None]] | None = None

    def hold(self) -> None:
        """Answer no more, until `release`."""
        self._held = []

    def release(self) -> None:
        """Give the answers that were held; on the server's event loop."""
        held, self._held = self._held or [], None
        for each in held:
            each()

    def respond(self, request: Request, answer: Answer) -> None:
        self.requests.append(request)
        body = b" ".join([request.method, request.target, request.body]) + b"x" * self.size
        if self._held is None:
            send(answer, 200, body)
        else:
            self._held.append(lambda: send(answer, 200, body))


def send(answer: Answer, status: int, body: bytes) -> None:
    """Send a whole answer."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body)}"]
    answer.send("\r\n".join([*lines, ""]).encode(), body, lambda: None)


def refuse(refused: Refused, answer: Answer) -> None:
    send(answer, refused.status, refused.detail.encode())


class Serving:
    """A server that runs in a thread, on an event loop of its own."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self.server, self.loop, self.port = server, loop, port
        self._callers: list[socket.socket] = []

    def connect(self) -> socket.socket:
        """A caller's connection; it is closed with the server."""
        caller = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self._callers.append(caller)
        return caller

    def ask(self, *parts: bytes, half_close: bool = False) -> list[Answered]:
        """What is answered on one connection, to its end."""
        with self.connect() as caller:
            for each in parts:
                caller.sendall(each)
            if half_close:
                caller.shutdown(socket.SHUT_WR)
            with caller.makefile("rb") as answers:
                return list(iter(lambda: read_answer(answers), None))

    def call(self, function: Callable[[], None]) -> None:
        """Have `function` called on the server's event loop."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (function(), done.set()))
        assert done.wait(20)

    def drain(self) -> "Future[None]":
        """Stop the server; what is returned is done when it is drained."""
        self.call(self.server.stop)
        return asyncio.run_coroutine_threadsafe(self.server.drained(), self.loop)

    def close(self) -> None:
        """Close what the callers have opened."""
        for each in self._callers:
            each.close()


def read_answer(answers: BinaryIO) -> Answered | None:
    """The next answer, or None at the end of the connection."""
    if not (line := answers.readline()):
        return None
    headers = {}
    while (field := answers.readline()) not in (b"\r\n", b""):
        name, _, value = field.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    status = int(line.split()[1])
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(answers.readline(), 16):
            body += answers.read(size)
            answers.readline()
        answers.readline()
    elif "content-length" in headers:
        body = answers.read(int(headers["content-length"]))
    else:
        body = b"" if status in (100, 204, 304) else answers.read()
    return Answered(status, headers, body)


@contextmanager
def serving(
    loop: str,
    respond: Callable[[Request, Answer], None],
    admit: Callable[[Request], None] = lambda request: None,
) -> Iterator[Serving]:
    """Serve while the block runs."""
    ready, ended = threading.Event(), asyncio.Event()
    found: list[Serving] = []

    async def run() -> None:
        server = Server(respond, refuse, admit)
        listening, port = bind_unused_port()
        await server.listen_on([listening])
        reaping = asyncio.create_task(server.run())
        found.append(Serving(server, asyncio.get_running_loop(), port))
        ready.set()
        await ended.wait()
        server.stop()
        await server.close()
        await tasks.end(reaping)

    def in_thread() -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(run())

    thread = threading.Thread(target=in_thread)
    thread.start()
    assert ready.wait(20)
    try:
        yield found[0]
    finally:
        found[0].close()
        found[0].loop.call_soon_threadsafe(ended.set)
        thread.join(20)
        assert not thread.is_alive()
