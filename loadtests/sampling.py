"""Sample CPU time and metrics while a load test runs, each in a thread and into a CSV file of its own."""

import csv
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
from prometheus_client.parser import text_string_to_metric_families

from harness import clock, machine, watch
from harness.processes import descendants
from harness.servers import direct_session
from harness.threads import meanwhile

CPU_SECONDS = 0.25
FIND_SECONDS = 2.0
METRICS_SECONDS = 0.5
TIMEOUT = 2.0
METRICS_PATH = "/metrics"


class Watched:
    """The processes that take part in a run: looked for again every two seconds, and when one of them has ended."""

    def __init__(self, url: str, locust: Sequence[psutil.Process], roots: Sequence[psutil.Process] = ()) -> None:
        self._url, self._roots, self._locust = url, roots, locust
        self._meters = {role: watch.CpuMeter() for role in ("server", "mongod", "database", "locust")}
        self._known: dict[str, list[psutil.Process]] = {role: [] for role in self._meters}
        self._looked = -math.inf
        self._noted = 0.0
        self._first: set[tuple[str, int]] = set()

    def look(self) -> list[list[Any]]:
        """A row for each process that runs: time, role, pid, CPU seconds so far.

        One that was not there before has a row for that time too, with 0.
        """
        before, self._noted = self._noted, clock.now()
        self._find()
        rows: list[list[Any]] = []
        for role, meter in self._meters.items():
            for pid, seconds in meter.cpu_seconds(self._known[role]):
                if (role, pid) not in self._first and before:
                    rows.append([f"{before:.6f}", role, pid, "0.000000"])
                self._first.add((role, pid))
                rows.append([f"{self._noted:.6f}", role, pid, f"{seconds:.6f}"])
        return [*rows, [f"{self._noted:.6f}", "machine", 0, f"{machine.busy_seconds():.6f}"]]

    def pids(self) -> dict[str, list[int]]:
        """The pids of each role that were seen, in the order of their numbers."""
        return {role: sorted(pid for one, pid in self._first if one == role) for role in self._meters}

    def _find(self) -> None:
        ended = any(not each.is_running() for them in self._known.values() for each in them)
        if not ended and time.monotonic() - self._looked < FIND_SECONDS:
            return
        self._looked = time.monotonic()
        found = watch.behind(self._url).roles | {"locust": list(self._locust)}
        found["server"] += self._roots
        for role, known in self._known.items():
            living = {each.pid: each for each in [*known, *found[role]] if each.is_running()}
            self._known[role] = descendants(list(living.values()))


@contextmanager
def cpu(watched: Watched, path: Path) -> Iterator[None]:
    """Note the processor time of the processes that take part, and of the whole machine, while the block runs."""
    with _sampled(path, ["time", "role", "pid", "cpu_seconds"], watched.look, CPU_SECONDS):
        yield


@contextmanager
def metrics(url: str, path: Path) -> Iterator[None]:
    """Note what the service at `url` says at /metrics while the block runs; nothing, if it has no such page.

    Values that differ in labels only are summed, without those of the route /metrics, which are what asking for them
    costs; the buckets of histograms are left out. One connection is kept, so that of several processes the same one
    answers each time.
    """
    with direct_session() as session:

        def look() -> list[list[Any]]:
            try:
                answer = session.get(f"{url}{METRICS_PATH}", timeout=TIMEOUT)
                values = _summed(answer.text) if answer.ok else {}
            except (requests.RequestException, ValueError):
                return []  # it is away, or busy, or says something else there
            now = f"{clock.now():.6f}"
            return [[now, name, f"{value:.9g}"] for name, value in values.items()]

        with _sampled(path, ["time", "name", "value"], look, METRICS_SECONDS):
            yield


def _summed(text: str) -> dict[str, float]:
    values: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            is_own = sample.labels.get("route") == METRICS_PATH
            if not is_own and not sample.name.endswith(("_bucket", "_created")):
                values[sample.name] += sample.value
    return values


@contextmanager
def _sampled(path: Path, heading: list[str], look: Callable[[], list[list[Any]]], interval: float) -> Iterator[None]:
    """Write what `look` returns, at the beginning, every `interval` seconds, and at the end."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(heading)

        def keep_looking(ended: threading.Event) -> None:
            rows.writerows(look())
            while not ended.wait(interval):
                rows.writerows(look())
            rows.writerows(look())

        with meanwhile(keep_looking):
            yield
