"""The same API as others would write it, and servers of nothing but given bytes: what `make bench` compares with.

Each is one file, written as its framework's own tutorial does it, and made no slower and no faster.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness import servers
from harness.processes import ProgramError

UVICORN = ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--no-access-log")
# One process with the threads that gunicorn's documentation begins with, 2 to 4 for each core.
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--threads", "4", "--no-control-socket")
# One process, with uvloop, as uvicorn has it.
GRANIAN = (
    "granian",
    "--interface",
    "rsgi",
    "--host",
    "127.0.0.1",
    "--port",
    "{port}",
    "--workers",
    "1",
    "--loop",
    "uvloop",
)
# What runs each peer, after `python -m`.
COMMANDS = {
    "fastapi_mongodb": (*UVICORN, "loadtests.peers.fastapi_mongodb:app"),
    "fastapi_cached": (*UVICORN, "loadtests.peers.fastapi_cached:app"),
    "fastapi_constant": (*UVICORN, "loadtests.peers.fastapi_constant:app"),
    "flask_sqlite": (*GUNICORN, "loadtests.peers.flask_sqlite:create_app()"),
    "starlette_constant": (*UVICORN, "loadtests.peers.starlette_constant:app"),
    "granian_constant": (*GRANIAN, "loadtests.peers.granian_constant:app"),
    "httptools_constant": ("loadtests.peers.httptools_constant", "{port}"),
    "tornado_constant": ("loadtests.peers.tornado_constant", "{port}"),
    "protocol_constant": ("loadtests.peers.protocol_constant", "{port}"),
}


@contextmanager
def running(peer: str, log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """One of COMMANDS while the block runs; gives its address. Its output goes to `log`. Raises `ProgramError`."""
    command = [sys.executable, "-m", *COMMANDS[peer]]
    try:
        server = servers.start(command, log, ready="/messages", environment=environment)
    except ProgramError as error:
        raise ProgramError(f"{peer} did not start: {error}") from error
    with servers.stopped_afterwards(server):
        yield server.url
