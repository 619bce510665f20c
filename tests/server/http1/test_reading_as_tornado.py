"""On generated heads: what our reader takes for a request, Tornado takes for the same."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import example, given
from hypothesis import strategies as st
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream

from server.http1.reading import MAX_BODY, Reader

END = b"\r\n\r\n"
TOKEN = st.text("!#$%&'*+-.^_`|~azAZ09", min_size=1, max_size=8)
VALUE = st.text(st.characters(max_codepoint=255), max_size=12)
NAMES = ["Host", "Connection", "Content-Length", "Transfer-Encoding", "Expect", "X-Other", "content-LENGTH", "host"]
VALUES = [
    *["lab", "keep-alive", "Keep-Alive", "close", "0", "5", "+5", "5, 5", "007", "65536", "65537", "9" * 10, "chunked"],
    *["100-continue", "", " ", "a,b", "\xe9", "\t5 "],
]
HEADER = st.builds(
    "{}{}{}".format,
    st.one_of(st.sampled_from(NAMES), TOKEN),
    st.sampled_from([": ", ":", ":\t", " : ", "", ":  "]),
    st.one_of(st.sampled_from(VALUES), VALUE),
)
# What nearly every client sends, what it might send, and what none should.
START_LINE = st.one_of(
    st.builds("{} /{} HTTP/1.1".format, st.sampled_from(["GET", "POST", "BREW"]), TOKEN),
    st.builds("{} {} HTTP/{}".format, TOKEN, VALUE, st.sampled_from(["1.1", "1.0", "2", "1.10"])),
    VALUE,
)
LINES = st.lists(st.one_of(HEADER, st.sampled_from([" folded", "\tfolded", "nothing", ""]), VALUE), max_size=5)
HEADS = st.builds(
    lambda start_line, lines, end: end.join([start_line, *lines]).encode("latin-1"),
    START_LINE,
    st.builds(lambda lines: ["Host: lab", *lines], LINES) | LINES,
    st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"]),
)

GOOD_HEADS = st.builds(
    lambda method, path, fields: "\r\n".join([f"{method} /{path} HTTP/1.1", "Host: lab", *fields]).encode("latin-1"),
    st.sampled_from(["GET", "POST", "BREW"]),
    st.text("abc/?&=%20.", max_size=8),
    st.lists(
        st.builds("X-{}: {}".format, TOKEN, st.text(st.characters(codec="latin-1", categories=["L", "N"]))), max_size=4
    ),
)


class Noted(HTTPMessageDelegate):
    """Notes what Tornado reads of one request, and answers it."""

    def __init__(self, connection: HTTP1Connection) -> None:
        self._connection = connection
        self.start_line: RequestStartLine | ResponseStartLine | None = None
        self.headers = HTTPHeaders()
        self.body = b""
        self.is_whole = False

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        self.start_line, self.headers = start_line, headers

    def data_received(self, chunk: bytes) -> None:
        self.body += chunk

    def finish(self) -> None:
        self.is_whole = True
        headers = HTTPHeaders({"Content-Length": "0"})
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers)
        self._connection.finish()


@contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


async def tornado_reads(data: bytes) -> Noted:
    """What Tornado's server makes of a connection on which `data` comes, and then nothing."""
    with socket_pair() as (client, server):
        client.setblocking(False)
        stream = IOStream(server)
        connection = HTTP1Connection(stream, False, HTTP1ConnectionParameters(max_body_size=MAX_BODY))
        noted = Noted(connection)
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(client, data))
        await connection.read_response(noted)
        stream.close()
        await asyncio.gather(sending, return_exceptions=True)
        return noted


@given(HEADS | GOOD_HEADS, st.binary(max_size=20))
@example(b"GET / HTTP/1.1\r\nHost: lab", b"")
@example(b"POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: 65536", b"")
@example(b"GET / HTTP/1.1\r\nHost: lab\r\nX: one\r\n two", b"")
def test_what_is_a_request_to_us_is_the_same_one_to_tornado(head: bytes, body: bytes) -> None:
    reader = Reader(lambda request: None)
    reader.feed(data := head + END + body, 0.0)
    if not (reader.requests and reader.requests[0].is_complete):
        return
    request = reader.requests[0]
    noted = asyncio.run(tornado_reads(data))
    start_line = (request.method.decode(), request.target.decode(), f"HTTP/{request.version}")
    assert noted.start_line == start_line
    ours = {name.decode(): value.decode("latin-1").strip(" \t") for name, value in request.headers.items()}
    assert {name.lower(): value for name, value in noted.headers.items()} == ours
    assert (noted.body, noted.is_whole) == (request.body, True)
