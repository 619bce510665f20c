"""Install the packages of a lock file with pip, and say how far it is: `python -m harness.install requirements.lock`.

For `make setup`, so nothing but the standard library, pip and this folder is there.
"""

import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.threads import meanwhile

PIP = ("-m", "pip", "install", "--disable-pip-version-check", "--no-color", "--progress-bar", "off", "--require-hashes")
PINNED = re.compile(r"^[A-Za-z0-9][^\\#]*==[^\\#]*", re.MULTILINE)
FETCHES = ("Collecting ", "Processing ")  # from an index, or from a folder
# How often it is said how far it is, in seconds: in a terminal on one line, else on a line each.
IN_TERMINAL, IN_LOG = 0.5, 10.0


class Installation:
    """How far pip is: `total` packages, of which so many are `fetched`, and so many `unpacked`."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.fetched = 0
        self._began = time.monotonic()
        self._before = self._installed()

    @property
    def unpacked(self) -> int:
        return self._installed() - self._before

    def __str__(self) -> str:
        seconds = f"{time.monotonic() - self._began:.0f} s"
        return f"packages: {self.fetched} of {self.total} fetched, {self.unpacked} unpacked, {seconds}"

    def _installed(self) -> int:
        return sum(1 for _ in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))


def install(lock: Path) -> int:
    """Install the packages that `lock` names for this machine, and return pip's exit code."""
    found = Installation(len(packages(lock)))
    command = [sys.executable, *PIP, "--requirement", str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pip, _said_meanwhile(found):
        assert pip.stdout is not None
        for line in pip.stdout:
            found.fetched += line.startswith(FETCHES)
    return pip.returncode


def packages(lock: Path) -> list[str]:
    """The packages in `lock` that are for this machine and this Python, as `name==version`."""
    from pip._vendor.packaging.requirements import Requirement

    pinned = [Requirement(each) for each in PINNED.findall(lock.read_text())]
    return [f"{each.name}{each.specifier}" for each in pinned if each.marker is None or each.marker.evaluate()]


@contextmanager
def _said_meanwhile(found: Installation) -> Iterator[None]:
    """Say how far it is while the block runs, and at its end."""
    in_terminal = sys.stderr.isatty()
    begin, end = ("\r", "") if in_terminal else ("", "\n")

    def say(ended: threading.Event) -> None:
        while not ended.wait(IN_TERMINAL if in_terminal else IN_LOG):
            print(f"{begin}{found} ", end=end, file=sys.stderr, flush=True)

    try:
        with meanwhile(say):
            yield
    finally:
        print(f"{begin}{found} ", file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(install(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit("interrupted: it begins again the next time")
