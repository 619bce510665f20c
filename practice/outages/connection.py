"""HTTP/1.1 on one connection, for clients that must know how far an exchange came."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 12.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
BODILESS = {204, 304}


class Unanswered(Exception):
    """An exchange that did not come to its end; the text says how far it came.

    "refused": the request was not sent. "silent": it was, and the connection ended without a byte of an answer.
    "cut": the connection ended within the answer. "timeout": no answer within ANSWER_SECONDS.
    """


@dataclass(frozen=True)
class Answer:
    """An answer: its status, its header fields by their names in small letters, and the object in its body."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Connection:
    """A connection to `host`:`port`, made when it is first used, and again after it has ended."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, method: str, target: str, headers: dict[str, str], body: Any = None) -> Answer:
        """Send a request, with `body` as JSON, and return the answer. Raises `Unanswered`."""
        request = self._request(method, target, headers, body)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await self._connected()
        except (OSError, TimeoutError):
            raise Unanswered("refused") from None
        received = bytearray()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(request)
                await writer.drain()
                return await self._answer(reader, received)
        except TimeoutError:
            self.close()
            raise Unanswered("timeout") from None
        except (OSError, EOFError):
            self.close()
            raise Unanswered("cut" if received else "silent") from None
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 24)
        return self._streams

    def _request(self, method: str, target: str, headers: dict[str, str], body: Any) -> bytes:
        data = b"" if body is None else json.dumps(body).encode()
        fields = {"Host": f"{self._host}:{self._port}", **headers}
        if body is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        return "\r\n".join(lines).encode() + data

    async def _answer(self, reader: asyncio.StreamReader, received: bytearray) -> Answer:
        """Read an answer. What has come of it is added to `received`."""
        while (end := received.find(b"\r\n\r\n")) < 0:
            await _receive(reader, received)
        head = bytes(received[: end + 2])
        found, status = _LENGTH.search(head), int(head[9:12])
        length = int(found[1]) if found and status not in BODILESS else 0
        while len(received) < end + 4 + length:
            await _receive(reader, received)
        if _CLOSE.search(head):
            self.close()
        pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:-1])
        body = json.loads(received[end + 4 : end + 4 + length]) if length else {}
        return Answer(status, {name.lower(): value.strip() for name, _, value in pairs}, body)


async def _receive(reader: asyncio.StreamReader, received: bytearray) -> None:
    data = await reader.read(1 << 16)
    if not data:
        raise EOFError
    received += data
