"""httptools on asyncio's protocols, sending the bytes of the file BODY: what reading requests costs at the least.

`python -m loadtests.peers.httptools_constant PORT`. It parses each request, keeps its headers, and looks at nothing.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import cast

import uvloop
from httptools import HttpRequestParser

BODY = Path(os.environ["BODY"]).read_bytes()
HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
ANSWER = HEAD.encode() + BODY


class Constant(asyncio.Protocol):
    """A connection, on which every request is answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name] = value

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


async def main(port: int) -> None:
    """Serve until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
