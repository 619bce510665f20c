"""Tiny real servers that answer as the message service never does."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that sends `answer` to each caller and hangs up; gives its address."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield "http://{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield "http://{}:{}".format(*listening.getsockname())


def http(body: str, status: int = 200, headers: str = "") -> bytes:
    """An HTTP answer. `headers` are whole lines."""
    lines = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\n{headers}Content-Length: {len(body.encode())}\n\n"
    return (lines.replace("\n", "\r\n") + body).encode()
