"""asyncio's protocols sending the bytes of the file BODY to every request: faster than any load generator in Python.

`python -m loadtests.peers.protocol_constant PORT`. It reads heads no further than to their end, and no bodies.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import cast

import uvloop

BODY = Path(os.environ["BODY"]).read_bytes()
HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
ANSWER = HEAD.encode() + BODY


class Constant(asyncio.Protocol):
    """A connection, on which every end of a head is answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def main(port: int) -> None:
    """Serve until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
