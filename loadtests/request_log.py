"""The log of a load test: a CSV line for each request, and lines about Locust itself.

A single Locust process writes the files. Of several, the workers send their lines to the master, which writes them.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

# What became of a request that was due: the values of the column `outcome`.
OK, REFUSED, FAILED, UNANSWERED, UNSENT = "ok", "refused", "failed", "unanswered", "unsent"

# Several workers begin within so many seconds of each other, and each goes on for as long after its time.
SPREAD_SECONDS = 1.0

SPECIAL = frozenset(',"\r\n')
HEADINGS: Mapping[str, str] = {
    "requests": "due,sent,name,milliseconds,status,outcome",
    "generator": "time,worker,late_ms",
    "workers": "time,worker,clock_ms",
}


class RequestLog:
    """Lines of the files in HEADINGS; kept until they are taken, or written to files in `folder` if there is one."""

    def __init__(self, folder: str = "") -> None:
        self._files: dict[str, TextIO] = {}
        self._lines: dict[str, list[str]] = {name: [] for name in HEADINGS}
        for name, heading in HEADINGS.items() if folder else ():
            self._files[name] = (Path(folder) / f"{name}.csv").open("w", newline="")
            self._files[name].write(f"{heading}\n")

    def request(self, due: float, sent: float, name: str, milliseconds: float, status: int, outcome: str) -> None:
        """Log a request: when it was due and sent (Unix seconds), and what became of it."""
        line = f"{due:.6f},{sent:.6f},{quoted(name)},{milliseconds:.3f},{status},{outcome}\n"
        self._lines["requests"].append(line)

    def add_requests(self, lines: Iterable[str]) -> None:
        """Log requests whose lines are made already."""
        self._lines["requests"].extend(lines)

    def beat(self, now: float, worker: int, late_ms: float) -> None:
        """Log how late a timer of the process `worker` fired: so late may it notice an answer."""
        self._lines["generator"].append(f"{now:.6f},{worker},{late_ms:.3f}\n")

    def worker(self, now: float, worker: int, clock_ms: float) -> None:
        """Log that `worker` takes part, and how much its clock is behind the master's at most."""
        self._lines["workers"].append(f"{now:.6f},{worker},{clock_ms:.3f}\n")

    def take(self) -> dict[str, str]:
        """The lines logged since the last call, as one text for each file."""
        taken, self._lines = self._lines, {name: [] for name in HEADINGS}
        return {name: "".join(lines) for name, lines in taken.items() if lines}

    def write(self, texts: Mapping[str, str]) -> None:
        """Write lines to the files, so that others can read them; nothing without files."""
        for name, text in texts.items():
            if name in self._files:
                self._files[name].write(text)
                self._files[name].flush()

    def flush(self) -> None:
        """Write what was logged. Without files it is kept until it is taken."""
        if self._files:
            self.write(self.take())

    def close(self) -> None:
        """Write the rest, and close the files."""
        self.flush()
        for file in self._files.values():
            file.close()
        self._files.clear()


@functools.lru_cache(4096)
def quoted(text: str) -> str:
    """A CSV field, in quotes if need be."""
    if text and not SPECIAL & set(text):
        return text
    return '"' + text.replace('"', '""') + '"'
