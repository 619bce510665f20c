"""Run a scenario with Locust, in a process of its own, into a folder.

<folder>/locust_stats.csv, locust_stats_history.csv, …   as Locust wrote them
<folder>/requests.csv   time (s, Unix), name, milliseconds, status (0: no answer), for each request
<folder>/cpu.csv        time (s, Unix), role, cpu_seconds (used so far), a few times a second
<folder>/run.json       the command, the load, settings, commit, versions, machine, Locust's warnings
<folder>/locust.log     what Locust said
"""

import csv
import json
import math
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from loadtests import machine
from loadtests.scenarios import SCENARIOS

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
SAMPLE_SECONDS = 0.25
# Time for Locust to start, and to write its files.
GRACE_SECONDS = 30.0


class RunError(Exception):
    """A load test did not run. The text says why."""


@dataclass(frozen=True)
class Load:
    """What to load the service with: `users` at a time for `seconds`, the first `warmup` of them not counted.

    With a `rate` the users together send that many requests a second if the service keeps up; without
    one each sends its next request when it has its answer (a closed system: it slows with the service).
    """

    scenario: str
    users: int = 16
    seconds: float = 5.0
    warmup: float = 1.0
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise ValueError(f"there is no scenario {self.scenario!r}: name one of {', '.join(SCENARIOS)}")
        numbers = [self.users, self.warmup, self.seconds, self.rate or 1.0]
        positive = self.users >= 1 and self.seconds > 0 and (self.rate is None or self.rate > 0)
        if not all(map(math.isfinite, numbers)) or not positive or self.warmup < 0:
            raise ValueError(f"users, seconds and rate are above 0, and warmup is not below: {self}")


def run(load: Load, url: str, folder: Path, settings: dict[str, Any] | None = None, title: str = "") -> Path:
    """Load the service at `url`; returns `folder`. `settings`, the server's own, are kept beside the results.

    Raises `RunError` if Locust cannot run. Ctrl-C stops Locust too.
    """
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"the run folder {folder} cannot be made: {error.strerror}") from error
    processes = machine.behind(url)
    command = _command(load, url, folder)
    with (folder / "locust.out").open("wb") as output:
        locust = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        processes.roles["locust"] = [psutil.Process(locust.pid)]
        _sample_until_it_ends(locust, load, processes, folder, title or load.scenario)
    finally:
        locust.kill()  # does nothing if it has ended
        locust.wait()
    if locust.returncode != 0 or not (folder / "requests.csv").exists():
        said = (folder / "locust.out").read_text().strip().splitlines()
        raise RunError(f"Locust ended with exit code {locust.returncode}: {said[-1] if said else 'it said nothing'}")
    record = {
        "command": command,
        "load": asdict(load),
        "url": url,
        "settings": settings or {},
        "commit": machine.commit(),
        "machine": machine.describe(),
        "processes": processes.pids(),
        "warnings": _warnings(folder / "locust.log"),
    }
    (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    return folder


def _command(load: Load, url: str, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless", "--host", url),
        *("--users", str(load.users), "--spawn-rate", str(load.users)),
        *("--run-time", f"{_whole_seconds(load)}s", "--stop-timeout", "5"),
        *("--csv", str(folder / "locust"), "--csv-full-history", "--only-summary"),
        *("--logfile", str(folder / "locust.log"), "--exit-code-on-error", "0"),
        *("--scenario", load.scenario, "--rate", f"{load.rate or 0:g}", "--request-log", str(folder / "requests.csv")),
    ]


def _whole_seconds(load: Load) -> int:
    """Locust's run time: a second more than is measured, so that the load lasts to the end of that."""
    return math.ceil(load.warmup + load.seconds) + 1


def _sample_until_it_ends(
    locust: subprocess.Popen[bytes], load: Load, processes: machine.Processes, folder: Path, title: str
) -> None:
    length = _whole_seconds(load)
    began = time.monotonic()
    with (
        (folder / "cpu.csv").open("w", newline="") as file,
        tqdm(total=length, desc=title, unit="s", leave=False, disable=None) as bar,
    ):
        samples = csv.writer(file)
        samples.writerow(["time", "role", "cpu_seconds"])
        while True:
            now = time.time()
            samples.writerows([f"{now:.6f}", role, f"{used:.6f}"] for role, used in processes.cpu_seconds().items())
            elapsed = time.monotonic() - began
            bar.update(min(int(elapsed), length) - bar.n)
            if elapsed > length + GRACE_SECONDS:
                raise RunError(f"Locust did not end within {GRACE_SECONDS} s of its run time")
            try:
                locust.wait(SAMPLE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return


def _warnings(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if "/WARNING/" in line] if log.exists() else []
