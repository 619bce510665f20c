"""What is looked at while a load test runs, each in a thread of its own, into a CSV file of its own."""

import csv
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from harness import clock, machine, watch
from harness.processes import descendants
from harness.servers import direct_session
from harness.threads import meanwhile

CPU_SECONDS = 0.25
METRICS_SECONDS = 0.5
TIMEOUT = 2.0


@contextmanager
def cpu(processes: watch.Processes, path: Path) -> Iterator[None]:
    """Note the processor time of `processes`, and of the whole machine, while the block runs.

    What Locust starts is looked for anew each time.
    """

    def look() -> list[list[Any]]:
        processes.roles["locust"] = descendants(processes.roles["locust"])
        now = f"{clock.now():.6f}"
        used = [[now, role, pid, f"{seconds:.6f}"] for role, pid, seconds in processes.cpu_seconds()]
        return [*used, [now, "machine", 0, f"{machine.busy_seconds():.6f}"]]

    with _sampled(path, ["time", "role", "pid", "cpu_seconds"], look, CPU_SECONDS):
        yield


@contextmanager
def metrics(url: str, path: Path) -> Iterator[None]:
    """Note what the service at `url` says at /metrics while the block runs; nothing, if it has no such page.

    Values that differ in labels only are summed; the buckets of histograms are left out. One connection
    is kept, so that of several processes the same one answers each time.
    """
    with direct_session() as session:

        def look() -> list[list[Any]]:
            try:
                answer = session.get(f"{url}/metrics", timeout=TIMEOUT)
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
            if not sample.name.endswith(("_bucket", "_created")):
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
