"""A TCP proxy that is slow: `python -m profiles.diagnosis.delay PORT MILLISECONDS` forwards to PORT of this machine.

Every byte arrives MILLISECONDS later, in either direction. Prints its own port, and runs until stdin closes.
"""

import asyncio
import sys
from contextlib import suppress

CHUNK = 64 * 1024
LOOPBACK = "127.0.0.1"


async def main(port: int, seconds: float) -> None:
    """Forward until stdin closes."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection(LOOPBACK, port)
        await asyncio.gather(_forward(reader, other_writer, seconds), _forward(other_reader, writer, seconds))

    server = await asyncio.start_server(connected, LOOPBACK, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Write what is read, each chunk `seconds` after it came: many may be on their way at a time, as on a wire."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            loop.call_later(seconds, writer.write, chunk)
    loop.call_later(seconds, writer.close)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
