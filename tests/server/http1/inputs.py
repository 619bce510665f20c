"""What comes on a connection: requests, and what is none, with the status that it is refused with."""

from server.http1.reading import MAX_BODY, MAX_FRAMED, MAX_HEAD

GET = b"GET /one?two=3 HTTP/1.1\r\nHost: lab:8000\r\n\r\n"
POST = b"POST /one HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /one HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n"


def with_header(line: bytes, request: bytes = GET) -> bytes:
    return request.replace(b"\r\nHost", b"\r\n" + line + b"\r\nHost", 1)


def head_of(size: int) -> bytes:
    """A GET with a head of `size` bytes."""
    return with_header(b"X: " + b"x" * (size - len(GET) - 5))


def body_of(size: int) -> bytes:
    return POST.replace(b"5\r\n\r\nhello", b"%d\r\n\r\n" % size + b"x" * size)


ACCEPTED = {
    "a GET": GET,
    "a POST": POST,
    "a body of no bytes": POST.replace(b"5\r\n\r\nhello", b"0\r\n\r\n"),
    "an empty line first": b"\r\n" + GET,
    "HTTP/1.0 without a Host": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/1.0 that stays": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "Connection: close": with_header(b"Connection: close"),
    "close among others": with_header(b"Connection: TE, Close"),
    "chunks": CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    "chunks with extensions and trailers": CHUNKED + b'2;a=b\r\nhe\r\n3;c="d e"\r\nllo\r\n0\r\nX: y\r\nHost: z\r\n\r\n',
    "chunks in capitals": CHUNKED.replace(b"chunked", b"Chunked") + b"A\r\n0123456789\r\n0\r\n\r\n",
    "a path for a URL": GET.replace(b"/one", b"http://lab/one"),
    "a URL without a path": GET.replace(b"/one?two=3", b"http://lab?a=b"),
    "another Host in the URL": GET.replace(b"/one", b"HTTP://other:80/one"),
    "OPTIONS *": GET.replace(b"GET /one?two=3", b"OPTIONS *"),
    "an empty Host": GET.replace(b"lab:8000", b""),
    "an address as Host": GET.replace(b"lab:8000", b"[::1]:8000"),
    "a Host with an escape": GET.replace(b"lab:8000", b"l%61b"),
    "blanks around a value": with_header(b"X: \t y \t "),
    "no value": with_header(b"X:"),
    "bytes beyond ASCII": with_header(b"X: \xe9"),
    "the largest head": head_of(MAX_HEAD),
    "the largest body": body_of(MAX_BODY),
    "Expect": with_header(b"Expect: 100-Continue", POST),
    "Expect by HTTP/1.0": with_header(b"Expect: something", POST.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "an offer of HTTP/2": with_header(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A", POST
    ),
    "an offer beside chunks": with_header(b"Connection: Upgrade\r\nUpgrade: x", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
    "an offer beside the last request": with_header(b"Connection: Upgrade, close\r\nUpgrade: websocket"),
    "a method of its own": GET.replace(b"GET", b"BREW"),
    "a method in small letters": GET.replace(b"GET", b"get"),
    "a method of its own, with a body": CHUNKED.replace(b"POST", b"BREW") + b"5\r\nhello\r\n0\r\n\r\n",
    "a body that looks like a request": POST.replace(b"5\r\n\r\nhello", b"%d\r\n\r\n" % len(GET) + GET),
}
REFUSED: dict[str, tuple[int, bytes]] = {
    "no HTTP": (400, b"hello\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "HTTP/2.0": (400, GET.replace(b"1.1", b"2.0")),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/1.10": (400, GET.replace(b"1.1", b"1.10")),
    "a method that is none": (400, GET.replace(b"GET", b"G(T")),
    "CONNECT": (405, b"CONNECT lab:80 HTTP/1.1\r\nHost: lab\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, with_header(b"Host: lab")),
    "two Hosts in one": (400, GET.replace(b"lab:8000", b"lab, other")),
    "a blank in the Host": (400, GET.replace(b"lab:8000", b"a b")),
    "a tag as Host": (400, GET.replace(b"lab:8000", b"<script>")),
    "a user in the Host": (400, GET.replace(b"lab:8000", b"u@lab")),
    "a path in the Host": (400, GET.replace(b"lab:8000", b"lab/x")),
    "a port that is none": (400, GET.replace(b"lab:8000", b"lab:http")),
    "half an address as Host": (400, GET.replace(b"lab:8000", b"[::1")),
    "a user in the URL": (400, GET.replace(b"/one", b"http://u:p@lab/one")),
    "a URL without a host": (400, GET.replace(b"/one?two=3", b"http:///one")),
    "a bad Host beside a URL": (400, GET.replace(b"/one", b"http://lab/one").replace(b"lab:8000", b"a b")),
    "a URL of another kind": (400, GET.replace(b"/one", b"ftp://lab/one")),
    "no path": (400, GET.replace(b"/one", b"one")),
    "GET *": (400, GET.replace(b"/one?two=3", b"*")),
    "a blank in the path": (400, GET.replace(b"/one", b"/o ne")),
    "a path beyond ASCII": (400, GET.replace(b"/one", b"/\xc3\xa9")),
    "a header without a colon": (400, with_header(b"nothing")),
    "a blank before the colon": (400, with_header(b"X : y")),
    "a header without a name": (400, with_header(b": y")),
    "a folded header": (400, with_header(b"X: y\r\n z")),
    "NUL in a value": (400, with_header(b"X: a\0b")),
    "a bell in a value": (400, with_header(b"X: a\x07b")),
    "only line feeds": (400, GET.replace(b"\r\n", b"\n")),
    "only carriage returns": (400, GET.replace(b"\r\n", b"\r")),
    "a line feed at the end of a header": (400, GET.replace(b"8000\r\n", b"8000\n")),
    "two lengths": (400, with_header(b"Content-Length: 6", POST)),
    "the same length twice": (400, with_header(b"Content-Length: 5", POST)),
    "lengths in a list": (400, POST.replace(b": 5", b": 5, 5")),
    "a length with a sign": (400, POST.replace(b": 5", b": +5")),
    "a negative length": (400, POST.replace(b": 5", b": -5")),
    "a length in hexadecimal": (400, POST.replace(b": 5", b": 0x5")),
    "a length of another script": (400, POST.replace(b": 5", b": \xb2")),
    "an empty length": (400, POST.replace(b": 5", b":")),
    "five thousand nines": (400, POST.replace(b": 5", b": " + b"9" * 5000)),
    "a large body": (413, body_of(MAX_BODY + 1)),
    "a much larger body, announced": (413, POST.replace(b": 5", b": 20000000")),
    "a larger body in chunks": (413, CHUNKED + b"8000\r\n" + b"x" * 0x8000 + b"\r\n8001\r\n" + b"x" * 0x8001),
    "nothing but extensions": (413, CHUNKED + b"1;" + b"x" * (MAX_FRAMED + 2 * MAX_HEAD)),
    "trailers without end": (413, CHUNKED + b"0\r\n" + b"X: y\r\n" * (MAX_FRAMED // 6 + 6000)),
    "a large head": (431, head_of(3 * MAX_HEAD)),
    "a path without end": (431, GET.replace(b"/one", b"/" + b"x" * 3 * MAX_HEAD)),
    "a header without end": (431, GET[:-4] + b"x" * 3 * MAX_HEAD),
    "empty lines without end": (431, b"\r\n" * MAX_HEAD),
    "a method without end": (400, b"X" * 3 * MAX_HEAD),
    "chunks and a length": (400, with_header(b"Content-Length: 5", CHUNKED)),
    "chunks by HTTP/1.0": (400, CHUNKED.replace(b"1.1", b"1.0")),
    "another coding": (400, CHUNKED.replace(b"chunked", b"gzip")),
    "another coding before chunks": (400, CHUNKED.replace(b"chunked", b"gzip, chunked")),
    "chunks twice": (400, CHUNKED.replace(b"chunked", b"chunked, chunked")),
    "chunks twice, in two headers": (400, with_header(b"Transfer-Encoding: chunked", CHUNKED)),
    "a coding that looks like chunks": (400, CHUNKED.replace(b"chunked", b"xchunked")),
    "a size that is none": (400, CHUNKED + b"x\r\n"),
    "a size with a sign": (400, CHUNKED + b"-1\r\n"),
    "a size without end": (400, CHUNKED + b"f" * 20 + b"\r\n"),
    "a chunk longer than its size": (400, CHUNKED + b"2\r\nhello\r\n0\r\n\r\n"),
    "a line feed after a size": (400, CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    "an expectation of another kind": (417, with_header(b"Expect: a miracle", POST)),
}
