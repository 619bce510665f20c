"""Start a peer as one process on a free port, wait until it answers, and stop it, whatever happens."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

START_SECONDS = 30.0
STOP_SECONDS = 10.0
UVICORN = ("uvicorn", "--host", "127.0.0.1", "--port", "0", "--no-access-log")
# One process with the threads that gunicorn's documentation begins with, 2 to 4 for each core.
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0", "--workers", "1", "--threads", "4", "--no-control-socket")
# What runs each peer, after `python -m`. All let the system choose the port, and say which it is.
COMMANDS = {
    "fastapi_mongodb": (*UVICORN, "loadtests.peers.fastapi_mongodb:app"),
    "fastapi_constant": (*UVICORN, "loadtests.peers.fastapi_constant:app"),
    "flask_sqlite": (*GUNICORN, "loadtests.peers.flask_sqlite:create_app()"),
    "tornado_constant": ("loadtests.peers.tornado_constant",),
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")


class PeerError(Exception):
    """A peer did not start. The text is what it said last."""


@contextmanager
def running(peer: str, log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """One of COMMANDS while the block runs; gives its address. What it says goes to `log`. Raises `PeerError`."""
    command = [*_tether(), sys.executable, "-m", *COMMANDS[peer]]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            # Ctrl-C is for the caller, who stops its peers when it has cleaned up.
            start_new_session=True,
        )
    try:
        yield _address(peer, process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tether() -> list[str]:
    """What makes Linux stop a peer whose caller was killed; elsewhere only a caller that ends in order does."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "TERM"] if found and sys.platform == "linux" else []


def _address(peer: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where `process` answers, as soon as it does."""
    deadline = time.monotonic() + START_SECONDS
    with requests.Session() as session:
        session.trust_env = False
        while process.poll() is None and time.monotonic() < deadline:
            if said := ADDRESS.search(log.read_text()):
                try:
                    session.get(f"{said[0]}/messages", timeout=5).raise_for_status()
                except requests.RequestException:
                    pass
                else:
                    return said[0]
            time.sleep(0.05)
    lines = log.read_text().strip().splitlines()
    raise PeerError(f"{peer} did not start: {lines[-1] if lines else 'it said nothing'}")
