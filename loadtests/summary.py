"""A run in a few numbers, and the reasons for which they may not be quoted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from loadtests.ingest import Run
from loadtests.request_log import FAILED, OK, REFUSED, SPREAD_SECONDS, UNANSWERED, UNSENT
from loadtests.service import IN_FLIGHT, LAG

# Above this share of a core Locust queues behind itself, and measures that too.
GENERATOR_LIMIT = 0.8
# By this share of the time its timers are late if it does not get the processor it needs.
LATE_LIMIT = 0.15
# With more of its cores at work a machine has none left for anybody.
FULL_MACHINE = 0.95
MACHINE_FULL = "the machine was full"
# A process of Locust that says nothing for so long has died, or was cut off.
SILENCE_SECONDS = 1.0
# More than clocks on one network differ, and than a report takes on its way.
CLOCK_MS = 250.0


def summarize(run: Run) -> dict[str, Any]:
    """The run in a few numbers, all of the measured time.

    requests_per_s: successful answers in it, per second;
    refused_per_s, failed_per_s, unanswered_per_s, unsent_per_s: of the requests that were due in it, or that were due
    before and had no answer in all of it, those that were refused (429), failed, had no answer when the run ended, and
    were never sent because no user was free;
    p50_ms, p95_ms, p99_ms: from when a request was due, of the successful ones and of those without an answer,
    which count with as long as they had waited; p99_from_send_ms: of the successful ones;
    server_us, mongod_us: processor time for each successful request, in microseconds;
    server_cores, mongod_cores, database_cores, locust_cores, machine_cores: used, of the `cores` there are
    (database: what the server is connected to on this machine, other than a mongod);
    server_busiest, locust_busiest: cores that the busiest process of each used (1 is the most Python can);
    lag_ms: how late the server's event loop ran a timer, mean; waiting: requests inside the server, mean;
    generator_late: the share of the time by which Locust was late for itself;
    void: why the rates and latencies of this run are not to be quoted, or "";
    lost: why nothing of it is, or "".
    """
    seconds = run.seconds
    rows = run.measured
    ok, waited = rows[rows["outcome"] == OK], rows[rows["outcome"].isin([OK, UNSENT, UNANSWERED])]
    counts = rows["outcome"].value_counts()
    succeeded = int((run.answered(0.0, seconds)["outcome"] == OK).sum())
    processes = run.cpu_by_process(0.0, seconds)
    used = processes.groupby(level=0).sum()
    roles = ("server", "mongod", "database", "locust", "machine")
    result = {
        "requests_per_s": succeeded / seconds,
        **{f"{each}_per_s": int(counts.get(each, 0)) / seconds for each in (REFUSED, FAILED, UNANSWERED, UNSENT)},
        **{f"p{q}_ms": waited["from_due_ms"].quantile(q / 100) for q in (50, 95, 99)},
        "p99_from_send_ms": ok["from_send_ms"].quantile(0.99),
        **{f"{role}_us": 1e6 * used.get(role, np.nan) / max(1, succeeded) for role in ("server", "mongod")},
        **{f"{role}_cores": used.get(role, np.nan) / seconds for role in roles},
        "cores": run.record["machine"]["cores"],
        **{f"{role}_busiest": _busiest(processes, role) / seconds for role in ("server", "locust")},
        "lag_ms": 1000
        * run.increase(f"{LAG}_sum", 0.0, seconds)
        / max(1.0, run.increase(f"{LAG}_count", 0.0, seconds)),
        "waiting": run.mean(IN_FLIGHT, 0.0, seconds),
        "generator_late": generator_late(run, 0.0, seconds),
    }
    lost = _lost(run)
    void = _missing_worker(run) or _overloaded(result, run.record["warnings"])
    return result | {"void": lost or void, "lost": lost}


def generator_late(run: Run, begin: float, end: float) -> float:
    """The share of the time from `begin` to `end` by which timers of Locust fired late, in its latest process."""
    rows = run.generator
    rows = rows[rows["time_s"].between(begin, end)]
    late = rows.groupby("worker")["late_ms"].sum() / 1000
    return float(late.max()) / (end - begin) if len(late) else np.nan


def locust_was_the_limit(result: Mapping[str, Any]) -> bool:
    """Whether a process of Locust was at its limit in a run, and the machine was not: more of them would offer more."""
    return bool(result["locust_busiest"] >= GENERATOR_LIMIT and not _is_full(result))


def _is_full(result: Mapping[str, Any]) -> bool:
    return bool(result["machine_cores"] >= FULL_MACHINE * result["cores"])


def _busiest(processes: "pd.Series[float]", role: str) -> float:
    """Of the processor seconds of `cpu_by_process`, those of the process of `role` that used most; NaN without any."""
    return float(processes[processes.index.get_level_values(0) == role].max())


def _overloaded(result: Mapping[str, Any], warnings: list[str]) -> str:
    """Why the load generator was the limit, or the machine that it shares with the server; "" if neither was."""
    suffers = result["locust_busiest"] >= GENERATOR_LIMIT or result["generator_late"] >= LATE_LIMIT
    if suffers and _is_full(result):
        roles = {"the server": "server", "mongod": "mongod", "other databases": "database", "Locust": "locust"}
        used = {name: result[f"{role}_cores"] for name, role in roles.items()}
        users = ", ".join(f"{name} {cores:.1f}" for name, cores in used.items() if cores >= 0.05)
        return f"{MACHINE_FULL} ({users} of {result['cores']} cores)"
    if locust_was_the_limit(result):
        return f"Locust used {result['locust_busiest']:.0%} of a core: it was the limit"
    if any("CPU usage" in warning for warning in warnings):
        return "Locust warned of its own CPU usage: it was the limit"
    if result["generator_late"] >= LATE_LIMIT:
        return f"Locust was late by {result['generator_late']:.0%} of the time: it did not get the processor it needed"
    return ""


def _missing_worker(run: Run) -> str:
    """Which process of Locust did not take part all the time, or has another clock; "" if there is none."""
    workers = sorted(set(run.workers["worker"]) | set(run.generator["worker"]))
    for worker in workers:
        behind = run.workers.loc[run.workers["worker"] == worker, "clock_ms"]
        # Reports take time on their way, so the least is nearest to the truth; the first row is the master's own.
        offset = float(behind[behind != 0].min()) if (behind != 0).any() else 0.0
        if abs(offset) > CLOCK_MS:
            word = "behind" if offset > 0 else "ahead of"
            return f"the clock of Locust's worker {worker} is {abs(offset) / 1000:.1f} s {word} the master's"
    if run.spread > SPREAD_SECONDS:
        return f"Locust's workers began {run.spread:.1f} s apart, and more than {SPREAD_SECONDS:g} s is too much"
    for worker in workers:
        heard = run.generator[run.generator["worker"] == worker]
        ends = [0.0, *heard.loc[heard["time_s"].between(0.0, run.seconds), "time_s"], run.seconds]
        # A timer that was late is no silence: that is told by `generator_late`.
        late = [0.0, *heard.loc[heard["time_s"].between(0.0, run.seconds), "late_ms"] / 1000, 0.0]
        gaps = np.diff(ends) - late[1:]
        if gaps.max() > SILENCE_SECONDS:
            at = max(0.0, ends[int(gaps.argmax())])
            return (
                f"Locust's worker {worker} was silent from {at:.1f} s on, for {gaps.max():.1f} s: its part is missing"
            )
    return ""


def _lost(run: Run) -> str:
    """Why nothing of the run counts, or ""."""
    samples = run.cpu
    if samples["time_s"].max() < run.seconds:
        return "the run ended before the measured time did"
    servers = samples[samples["role"] == "server"].groupby("pid")["time_s"].max()
    # Workers may be renewed while others serve. Without any the server has ended.
    if len(servers) and servers.max() < run.seconds:
        return f"the server (process {servers.idxmax()}) ended {servers.max():.1f} s into the measured time"
    broken = run.exceptions
    if len(broken):
        return f"a behaviour of the scenario is broken: {broken['message'].iloc[0]} ({broken['count'].sum()} times)"
    return ""
