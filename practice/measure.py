"""Measure a learner's server beside the lab's own on the same machine: capacity, cost per request, where time goes.

Both are measured in turns, because the speed of a machine changes from minute to minute.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import psutil

from harness import watch
from harness.servers import direct_session
from harness.threads import meanwhile
from loadtests import targets
from loadtests.capacity import Capacity, Slo, capacities
from loadtests.comparison import Comparison
from loadtests.experiment import Variants, compare
from loadtests.intervals import Ratio
from loadtests.run import Load
from practice.server import PUBLIC_BASE_URL
from practice.settings import SettingsError, Target, path_with_this_python
from profiles import kernel
from profiles.experiment import profile
from profiles.record import ProfilerError

FILE = "measured.json"
SCENARIOS = ("reads", "writes", "mixed")
YOURS, OURS = "yours", "the lab's"
USERS = 64
MESSAGES = 200
FIRST_RATE = 100.0
# A capacity is told in steps of a quarter: finer ones take longer, and no machine is that steady.
STEP = 1.25
# Costs are compared at this share of the lower capacity, where nobody queues.
EASY = 0.5
ROUNDS = 6
PROFILE_ROUNDS = 2
SECONDS_TO_ANSWER = 20.0


@dataclass(frozen=True)
class Cost:
    """Processor time for each request of one scenario, in µs: medians of the rounds, and the paired ratio."""

    server_us: dict[str, float]
    database_us: dict[str, float]
    ratio: str


@dataclass(frozen=True)
class Measured:
    """What was measured. Capacities and costs are by scenario, then by server (YOURS, OURS).

    A capacity is a pair [low, high] of requests a second: `low` held the promise `slo` twice, `high` did not; None
    where it was never seen to fail, and then `limits` says why. `where` has lines about where the time goes in reads.
    `slow` is what takes longest for each request of the mix: "server", "database" or "" where that was not to be seen.
    """

    slo: str
    capacities: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)
    slow: str = ""


@dataclass(frozen=True)
class Filled:
    """A target whose server holds MESSAGES messages when it is given: an empty list is cheap to read."""

    target: targets.Target

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.target.settings

    @contextmanager
    def running(self) -> Iterator[targets.Running]:
        with self.target.running() as server, direct_session() as session:
            for number in range(MESSAGES):
                text = f"Message {number}, here before the measuring began."
                answer = session.post(f"{server.url}/messages", json={"text": text}, timeout=SECONDS_TO_ANSWER)
                if not answer.ok:
                    raise SettingsError(
                        f"POST /messages was answered with {answer.status_code}: measuring needs stage 2 to pass first"
                    )
            yield server


def measure(target: Target, slo: Slo, seconds: float, tell: Callable[[str], None] = lambda line: None) -> Measured:
    """Measure the server of `target` and the lab's own in turns; each run lasts `seconds`.

    `tell` is called with what is being measured. Raises `SettingsError`, `ProgramError`, `RunError`.
    """
    yours = Filled(_learners(target))
    servers: Variants = {YOURS: yours, OURS: {}}
    measured = Measured(str(slo))
    for scenario in SCENARIOS:
        tell(f"capacity, {scenario}")
        load = Load(_path(scenario), USERS, seconds, rate=FIRST_RATE, fast=True)
        found = capacities(servers, load, slo, STEP)
        measured.capacities[scenario] = {name: _ends(each) for name, each in found.items()}
        measured.limits.update({f"{scenario}, {name}": each.limit for name, each in found.items() if each.limit})
        tell(f"cost, {scenario}")
        rate = max(1.0, EASY * min(each.low or FIRST_RATE for each in found.values()))
        measured.costs[scenario] = _cost(compare(servers, Load(_path(scenario), seconds=seconds, rate=rate), ROUNDS))
    tell("where the time goes")
    rate = max(1.0, EASY * (measured.capacities["reads"][YOURS][0] or FIRST_RATE))
    measured.where.extend(_where(yours, Load(_path("reads"), seconds=max(2.0, seconds), rate=rate)))
    return Measured(**{**vars(measured), "slow": _slow(measured.costs["mixed"])})


def save(measured: Measured, folder: Path) -> None:
    """Keep what was measured in the learner's folder, for the report. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(asdict(measured), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: Path) -> dict[str, Any] | None:
    """What was measured last in a learner's folder, as a JSON object; None if nothing was."""
    try:
        return dict(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def lines(measured: Measured, guess: str | None) -> Iterator[str]:
    """What was measured, for a terminal. `guess` is what the learner has said is slow, or None."""
    yield f"Capacity: requests/s with {measured.slo}"
    for scenario, found in measured.capacities.items():
        yield f"  {scenario:<8}" + "".join(f"  {name} {span(*ends):<22}" for name, ends in found.items()).rstrip()
    for what, why in measured.limits.items():
        yield f"  {what}: {why}"
    yield ""
    yield "Cost: processor time for each request, µs"
    for scenario, cost in measured.costs.items():
        for name, server in cost.server_us.items():
            yield f"  {scenario:<8}  {name:<10} {_us(server)} server + {_us(cost.database_us[name])} database"
        yield f"  {'':<8}  the lab's server takes {cost.ratio} times what yours does [95 % interval]"
    yield ""
    yield "Where the time goes in your server, while it is read"
    yield from (f"  {line}" for line in measured.where)
    yield ""
    yield verdict(measured.slow, guess)


def verdict(slow: str, guess: str | None) -> str:
    """What takes longest for each request of the mix, beside what the learner has said."""
    if not slow:
        return "Server or database? Neither could be seen: is the server on this machine?"
    found = f"When half of the requests write, the {slow} works longest for each."
    if guess is None:
        return f"{found} You have not said what you think: [answers] slow, in practice.toml"
    return f"{found} You said {guess}: {'right' if guess == slow else 'not so'}."


def span(low: float | None, high: float | None) -> str:
    """The ends of a capacity in words."""
    if not low:
        return "none found"
    return f"{low:,.0f} to {high:,.0f}" if high is not None else f"at least {low:,.0f}"


def _learners(target: Target) -> targets.Target:
    if target.url is not None:
        return targets.Elsewhere(target.url)
    assert target.command is not None
    environment = {
        "PATH": path_with_this_python(),
        "TWILIO_AUTH_TOKEN": "measured",
        "SLACK_SIGNING_SECRET": "measured",
        "PUBLIC_BASE_URL": PUBLIC_BASE_URL,
    }
    return targets.Command(target.command, environment, target.ready, target.folder)


def _path(scenario: str) -> str:
    return f"{Path(__file__).with_name('scenarios.py')}:{scenario}"


def _ends(found: Capacity) -> list[float | None]:
    return [found.low or None, found.high if isfinite(found.high) else None]


def _cost(comparison: Comparison) -> Cost:
    rounds = comparison.rounds[comparison.rounds["lost"] == ""]
    databases = (rounds["mongod_cores"].fillna(0.0) + rounds["database_cores"].fillna(0.0)) / rounds["requests_per_s"]
    by_variant = rounds.assign(database_us=1e6 * databases).groupby("variant")[["server_us", "database_us"]].median()
    ratio: Ratio | None = comparison.ratio("server_us")
    costs = {column: {str(name): float(us) for name, us in by_variant[column].items()} for column in by_variant}
    return Cost(costs["server_us"], costs["database_us"], str(ratio or "–"))


def _slow(cost: Cost) -> str:
    server, database = cost.server_us.get(YOURS, float("nan")), cost.database_us.get(YOURS, 0.0)
    if isnan(server):
        return ""
    return "server" if server >= database else "database"


def _where(server: targets.Target, load: Load) -> list[str]:
    """Where the time of a learner's server goes: by py-spy if it is in Python, else as the kernel sees it."""
    with server.running() as started:
        processes = watch.behind(started.url).roles["server"]
        if not processes:
            return ["not to be seen: the server is not on this machine, or belongs to another user"]
        if not all(map(kernel.is_python, processes)):
            return [
                "py-spy looks into Python only; the kernel tells this:",
                *_kernel_view(started.url, processes, load),
            ]
    try:
        table = profile({YOURS: server}, load, PROFILE_ROUNDS).table()
    except ProfilerError as error:
        return [str(error)]
    return [f"{microseconds:8,.0f} µs  {category}" for category, microseconds in table[YOURS].dropna().items()]


def _kernel_view(url: str, processes: list[psutil.Process], load: Load) -> list[str]:
    """What the kernel tells of `processes` while one caller reads as fast as it is answered."""

    def read_on(ended: threading.Event) -> None:
        with direct_session() as session:
            while not ended.is_set():
                session.get(f"{url}/messages", params={"limit": 20}, timeout=SECONDS_TO_ANSWER)

    with meanwhile(read_on):
        return kernel.view(processes, load.seconds).lines()


def _us(value: float) -> str:
    return "–" if isnan(value) else f"{value:,.0f}"
