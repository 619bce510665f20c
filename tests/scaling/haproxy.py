"""HAProxy with the configuration that docs/scaling.md shows."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import processes
from harness.ports import accepts_connections, free_port
from tests.pages import DOCS
from tests.waiting import eventually

# Debian has it where users' PATH does not lead.
PROGRAM = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin") or shutil.which("haproxy")
PLACES = ("10.0.0.11:8000", "10.0.0.12:8000")  # of the services, in the page


def configuration(port: int, services: Sequence[str]) -> str:
    """What the page shows, on `port`, before `services` ("host:port")."""
    (shown,) = DOCS["scaling"].blocks("haproxy")
    for place, service in zip((":80\n", *PLACES), (f"127.0.0.1:{port}\n", *services), strict=True):
        assert shown.count(place) == 1
        shown = shown.replace(place, service)
    return shown


@contextmanager
def haproxy(folder: Path, services: Sequence[str]) -> Iterator[str]:
    """Run it before `services` while the block runs; gives its URL."""
    assert PROGRAM is not None
    port, file = free_port(), folder / "haproxy.cfg"
    file.write_text(configuration(port, services))
    processes.run([PROGRAM, "-c", "-f", str(file)])  # a warning is not fatal, and an error names its line
    program = processes.start([PROGRAM, "-db", "-f", str(file)], folder / "haproxy.log")
    try:
        eventually(lambda: accepts_connections(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        processes.stop(program, 10)
