"""Small changes of requests to the lab's service, and what comes back for them, whatever they are."""

import re
import socket
from collections.abc import Iterator
from random import Random

from tests.server.http1.inputs import ACCEPTED, REFUSED

SECONDS = 20.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
MAX_LENGTH = 5000  # of what is changed; larger ones are sent as they are elsewhere

LIST = b'GET /messages?limit=3 HTTP/1.1\r\nHost: 127.0.0.1\r\nLab-Seen: 0\r\nIf-None-Match: "3"\r\n\r\n'
KEYED = (
    b"POST /messages HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\nIdempotency-Key: one\r\n"
    b'Content-Length: 16\r\n\r\n{"text":"hello"}'
)
SERVICE = [
    LIST,
    KEYED,
    KEYED.replace(b"Content-Length: 16", b"Transfer-Encoding: chunked").replace(b"{", b"10\r\n{") + b"\r\n0\r\n\r\n",
    KEYED.replace(b"lab\r\n", b"lab\r\nExpect: 100-continue\r\nX-Request-ID: mine\r\n"),
    KEYED.replace(b"hello", b"\\u00e9"),
    LIST.replace(b"GET", b"HEAD"),
    LIST.replace(b'"3"', b"*"),
    LIST.replace(b"?limit=3", b"?since=2026-01-01T00:00:00Z&limit=2"),
    LIST.replace(b"/messages?limit=3", b"/messages/0123456789abcdef01234567/replies"),
    LIST.replace(b"/messages?limit=3", b"http://lab/healthz"),
    LIST.replace(b"GET /messages?limit=3", b"DELETE /messages"),
    LIST.replace(b"/messages?limit=3", b"/openapi.json").replace(b"HTTP/1.1", b"HTTP/1.0"),
    b"POST /integrations/twilio/sms HTTP/1.1\r\nHost: lab\r\nContent-Length: 8\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nBody=a&b",
]
SEEDS = SERVICE + [
    each for each in (*ACCEPTED.values(), *(request for _, request in REFUSED.values())) if len(each) < MAX_LENGTH
]
PIECES = [
    *[b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"=", b"%", b"?", b"&", b'"', b"\xff", b"\xc3\xa9"],
    *[b"0", b"-1", b"9" * 30, b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"],
    *[b"Host: x\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"HTTP/1.0"],
    *[b"HTTP/1.1", b"/messages", b"limit=", b"Lab-Seen: 99999999999999999\r\n", b"{", b"}", b"[" * 50],
    *[b"a=b&" * 1200, b"X: y\r\n" * 300],
]  # fmt: skip


def mutated(random: Random) -> bytes:
    """One to three requests, with up to five changes."""
    data = b"".join(random.choice(SEEDS) for _ in range(random.choice([1, 1, 2, 3])))
    for _ in range(random.randint(0, 5)):
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice([0, 1, 1, 2, 8, 40]))
        change = random.randrange(6)
        if change == 0:
            data = data[:start] + data[end:]
        elif change == 1:
            data = data[:start] + random.choice(PIECES) + data[end:]
        elif change == 2:
            data = data[:start] + random.choice(PIECES) + data[start:]
        elif change == 3:
            data = data[:end] + data[start:end] * random.randint(1, 3) + data[end:]
        elif change == 4:
            data = data[:start] + random.randbytes(end - start) + data[end:]
        else:
            data = data[:start]
    return data


def requests(seed: int, count: int) -> Iterator[bytes]:
    """The same for the same seed."""
    random = Random(seed)
    return (mutated(random) for _ in range(count))


def statuses(port: int, data: bytes) -> list[int]:
    """The statuses of what is answered to `data`, after which the caller half-closes. Raises `TimeoutError`."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return [int(each) for each in STATUS.findall(said)]
