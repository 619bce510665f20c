"""Run a scenario with Locust, in processes of its own, into a folder.

<folder>/locust_stats.csv, locust_stats_history.csv, …   as Locust wrote them
<folder>/requests.csv   due, sent (s, Unix), name, milliseconds (from sent), status (0: none), outcome; a request each
<folder>/generator.csv  time (s, Unix), worker, late_ms: how late a timer in Locust fired
<folder>/workers.csv    time (s, Unix), worker, clock_ms: which workers took part, and how far their clocks were behind
<folder>/cpu.csv        time (s, Unix), role, pid, cpu_seconds (used so far), a few times a second
<folder>/metrics.csv    time (s, Unix), name, value: what the service's /metrics said, twice a second
<folder>/run.json       the command, the load, settings, commit, versions, machine, Locust's warnings
<folder>/locust.log     what Locust said
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness import clock, machine, processes, progress
from harness.ports import free_port
from loadtests import sampling
from loadtests.scenarios import find
from loadtests.scenarios import title as short_name
from loadtests.sessions import HEADERS_VARIABLE

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
WAIT_SECONDS = 0.25
POLL_SECONDS = 0.02
MARGIN_SECONDS = 0.2
BAR = "{desc} {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} s"  # what is left can be seen
# Time for Locust to start, and to write its files.
GRACE_SECONDS = 120.0


class RunError(Exception):
    """A load test did not run. The text says why."""


@dataclass(frozen=True)
class Load:
    """What Locust is to do: `users` at a time for `seconds`, after a `warmup` that is not counted.

    With a `rate` the users together send that many requests a second, each when it is due, or late if
    all users still wait for answers (an open system). Without one each sends its next request when it
    has its answer (a closed system: it slows with the service). `fast` users are on raw sockets instead of the
    library requests. The users are shared out among `processes` of Locust. `locust` are further options for Locust
    itself. `headers` are sent with each request; only their names are recorded.
    """

    scenario: str
    users: int = 16
    seconds: float = 2.5
    warmup: float = 0.5
    rate: float | None = None
    fast: bool = False
    processes: int = 1
    locust: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def title(self) -> str:
        """A short name of the scenario."""
        return short_name(self.scenario)

    def __post_init__(self) -> None:
        find(self.scenario, self.fast)
        numbers = [self.users, self.warmup, self.seconds, self.rate or 1.0]
        positive = self.users >= 1 and self.processes >= 1 and self.seconds > 0 and (self.rate is None or self.rate > 0)
        if not all(map(math.isfinite, numbers)) or not positive or self.warmup < 0:
            raise ValueError(f"users, processes, seconds and rate are above 0, and warmup is not below: {self}")


def run(
    load: Load,
    url: str,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    title: str = "",
    pid: int | None = None,
) -> Path:
    """Load the service at `url`; returns `folder`. `settings`, the server's own, are kept beside the results.

    `pid` is the process that was started to serve `url`, if it is known. Raises `RunError` if Locust cannot run.
    Ctrl-C stops Locust too.
    """
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"the run folder {folder} cannot be made: {error.strerror}") from error
    command = _command(load, url, folder)
    environment = clock.for_children() | {HEADERS_VARIABLE: json.dumps(dict(load.headers))}
    with (folder / "locust.out").open("wb") as output:
        locust = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    generator = psutil.Process(locust.pid)
    involved = sampling.Watched(url, [generator], [psutil.Process(pid)] if pid else [])
    try:
        with sampling.cpu(involved, folder / "cpu.csv"), sampling.metrics(url, folder / "metrics.csv"):
            _wait(locust, load, title or load.title)
    finally:
        processes.kill_all(processes.descendants([generator]))
        processes.end(locust, 0)
    if locust.returncode != 0 or not (folder / "requests.csv").exists():
        said = (folder / "locust.out").read_text().strip().splitlines()
        raise RunError(f"Locust ended with exit code {locust.returncode}: {said[-1] if said else 'it said nothing'}")
    record = {
        "command": command,
        "load": asdict(load) | {"headers": sorted(load.headers)},
        "url": url,
        "settings": dict(settings or {}),
        "commit": machine.commit(),
        "machine": machine.describe(),
        "processes": involved.pids(),
        "warnings": _warnings(folder / "locust.log"),
    }
    (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    return folder


def until_loaded(folder: Path, ended: Callable[[], bool], seconds: float = GRACE_SECONDS) -> None:
    """Return when the run in `folder` has logged its first requests, or has `ended`, or `seconds` are over."""
    log, deadline = folder / "requests.csv", time.monotonic() + seconds
    while not ended() and time.monotonic() < deadline:
        if log.exists() and log.read_text().count("\n") > 1:
            return
        time.sleep(POLL_SECONDS)


def _command(load: Load, url: str, folder: Path) -> list[str]:
    options = [*(["--processes", str(load.processes)] if load.processes > 1 else []), *load.locust]
    return [
        *(sys.executable, "-m", "loadtests.start_locust", "--locustfile", str(LOCUSTFILE), "--headless", "--host", url),
        *("--users", str(load.users), "--spawn-rate", str(load.users)),
        *("--length", f"{_length(load):g}", "--stop-timeout", "0"),
        *("--csv", str(folder / "locust"), "--csv-full-history", "--only-summary"),
        *("--logfile", str(folder / "locust.log"), "--exit-code-on-error", "0"),
        *("--scenario", load.scenario, "--rate", f"{load.rate or 0:g}", "--log-folder", str(folder)),
        *_ports(options),
        *options,
        "FastCaller" if load.fast else "Caller",
    ]


def _ports(options: Sequence[str]) -> list[str]:
    """A free port for a master and its processes on this machine: Locust's own choice is the same in every run."""
    given = {option.partition("=")[0] for option in options}
    if "--processes" not in given or "--master-bind-port" in given:
        return []
    port = str(free_port())
    return ["--master-port", port, "--master-bind-port", port]


def _length(load: Load) -> float:
    """How many seconds Locust runs: so long that the load lasts to the end of what is measured.

    Locust writes its CSVs once a second, so a run that ends just after a whole one has all requests in them.
    """
    return math.ceil(load.warmup + load.seconds) + MARGIN_SECONDS


def _wait(locust: subprocess.Popen[bytes], load: Load, title: str) -> None:
    """Wait for Locust to end, with a progress bar."""
    length = _length(load)
    began = time.monotonic()
    with progress.bar(title, length, bar_format=BAR) as bar:
        while locust.poll() is None:
            elapsed = time.monotonic() - began
            bar.update(min(elapsed, length) - bar.n)
            if elapsed > length + GRACE_SECONDS:
                raise RunError(f"Locust did not end within {GRACE_SECONDS} s of its run time")
            try:
                locust.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def _warnings(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if "/WARNING/" in line] if log.exists() else []
