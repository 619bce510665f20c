"""Run folders (see `loadtests.run`) as tidy DataFrames: one row is one thing, and columns carry their unit."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loadtests.service import IN_FLIGHT, LAG

# Above this share of a core Locust queues behind itself, and measures that too.
GENERATOR_LIMIT = 0.8
# By this share of the time its timers are late if it does not get the processor it needs.
LATE_LIMIT = 0.15
REFUSED = 429
UNSENT = "unsent"

HISTORY_COLUMNS = {
    "Timestamp": "time",
    "Name": "name",
    "User Count": "users",
    "Requests/s": "requests_per_s",
    "Failures/s": "failures_per_s",
    "50%": "p50_ms",
    "95%": "p95_ms",
    "99%": "p99_ms",
}
STATS_COLUMNS = {
    "Name": "name",
    "Request Count": "requests",
    "Failure Count": "failures",
    "Requests/s": "requests_per_s",
    "Median Response Time": "p50_ms",
    "95%": "p95_ms",
    "99%": "p99_ms",
    "Max Response Time": "max_ms",
}
FAILURES_COLUMNS = {"Method": "method", "Name": "name", "Error": "error", "Occurrences": "count"}
EXCEPTIONS_COLUMNS = {"Count": "count", "Message": "message", "Traceback": "traceback", "Nodes": "nodes"}


class IngestError(Exception):
    """A folder does not hold a whole run. The text says what is missing."""


def record(folder: Path) -> dict[str, Any]:
    """What `run.json` says about the run."""
    try:
        return dict(json.loads((folder / "run.json").read_text()))
    except (OSError, ValueError) as error:
        raise IngestError(f"{folder} holds no finished run: its run.json cannot be read ({error})") from error


def began(folder: Path) -> float:
    """When the measured time began, in Unix seconds: the first request was due, and the warm-up after it."""
    first = float(_csv(folder / "requests.csv", ["due"])["due"].min())
    return first + float(record(folder)["load"]["warmup"])


def stats(folder: Path) -> pd.DataFrame:
    """Locust's summary of the whole run, warm-up included; a row for each name.

    Columns: name, requests, failures (counts), requests_per_s, p50_ms, p95_ms, p99_ms, max_ms (all from
    when a request was sent). Locust writes this once a second and not once more at the end, so the last
    requests may be missing from it; `requests` has them.
    """
    return _named(_csv(folder / "locust_stats.csv", STATS_COLUMNS))


def history(folder: Path) -> pd.DataFrame:
    """Locust's view of the run second by second; a row for each second and name.

    Columns: time_s (since the first row), name, users, requests_per_s, failures_per_s, and p50_ms,
    p95_ms, p99_ms of about the last 10 s. Rates are of another slice, about 10 s that end 2 s ago, so
    they rise late. Seconds in which there was nothing to count are left out.
    """
    rows = _named(_csv(folder / "locust_stats_history.csv", HISTORY_COLUMNS))
    rows = _since(rows, rows["time"].min())
    return rows[rows["p50_ms"] > 0].dropna().reset_index(drop=True)


def failures(folder: Path) -> pd.DataFrame:
    """What Locust counted as failures, no rows if nothing failed.

    Columns: method, name, error (as Locust words it), count.
    """
    return _csv(folder / "locust_failures.csv", FAILURES_COLUMNS, may_be_empty=True)


def exceptions(folder: Path) -> pd.DataFrame:
    """Errors in the behaviours themselves, which are no answers of the service; no rows if there were none.

    Columns: count, message, traceback, nodes (the Locust processes it happened in).
    """
    return _csv(folder / "locust_exceptions.csv", EXCEPTIONS_COLUMNS, may_be_empty=True)


def requests(folder: Path) -> pd.DataFrame:
    """Every request of the run, to the microsecond; a row each.

    Columns: due_s, sent_s (0 is the end of the warm-up, which is negative), name, from_due_ms and
    from_send_ms (how long the answer took, from either), status (0 for no answer), outcome.
    outcome is ok, refused (429), failed, or unsent: it was due, but no user was free to send it, and
    from_due_ms is how long it had waited when the run ended. Without a rate a request is due when it is sent.
    """
    rows = _whole(folder / "requests.csv", ["due", "sent", "name", "milliseconds", "status"])
    start = began(folder)
    outcomes = [
        rows["name"] == UNSENT,
        (rows["status"] // 100 == 2) | (rows["status"] == 304),
        rows["status"] == REFUSED,
    ]
    return pd.DataFrame(
        {
            "due_s": rows["due"] - start,
            "sent_s": rows["sent"] - start,
            "name": rows["name"],
            "from_due_ms": (rows["sent"] - rows["due"]) * 1000 + rows["milliseconds"],
            "from_send_ms": rows["milliseconds"],
            "status": rows["status"],
            "outcome": np.select(outcomes, [UNSENT, "ok", "refused"], "failed"),
        }
    )


def measured(folder: Path) -> pd.DataFrame:
    """The rows of `requests` that were due in the measured time, whenever they were answered."""
    rows = requests(folder)
    return rows.loc[(rows["due_s"] >= 0) & (rows["due_s"] < record(folder)["load"]["seconds"])].reset_index(drop=True)


def answered(folder: Path, begin: float, end: float) -> pd.DataFrame:
    """The rows of `requests` that were answered from `begin` to before `end`, in seconds."""
    rows = requests(folder)
    at = rows["sent_s"] + rows["from_send_ms"] / 1000
    return rows.loc[(at >= begin) & (at < end) & (rows["outcome"] != UNSENT)].reset_index(drop=True)


def cpu(folder: Path) -> pd.DataFrame:
    """The processor use of each process; a row for each sample and process.

    Columns: time_s (as in `requests`), role (server, mongod, locust; machine is all that ran on it),
    pid, cpu_seconds (used so far), cores (used since the sample before; 1.0 is one core).
    """
    rows = _since(_whole(folder / "cpu.csv", ["time", "role", "pid", "cpu_seconds"]), began(folder))
    each = rows.groupby(["role", "pid"])
    rows["cores"] = each["cpu_seconds"].diff() / each["time_s"].diff()
    return rows


def cpu_by_process(folder: Path, begin: float, end: float) -> "pd.Series[float]":
    """Processor seconds from `begin` to `end`, by (role, pid), read off the samples by interpolation."""
    return pd.Series(
        {
            key: float(np.diff(np.interp([begin, end], samples["time_s"], samples["cpu_seconds"])).item())
            for key, samples in cpu(folder).groupby(["role", "pid"])
        },
        dtype=float,
    )


def cpu_seconds(folder: Path, begin: float, end: float) -> dict[str, float]:
    """Processor seconds that each role used from `begin` to `end`, all its processes together."""
    return {str(role): float(used) for role, used in cpu_by_process(folder, begin, end).groupby(level=0).sum().items()}


def metrics(folder: Path) -> pd.DataFrame:
    """What the service's /metrics said; no rows if it has no such page.

    Columns: time_s (as in `requests`), name, value (labels summed).
    """
    return _since(_whole(folder / "metrics.csv", ["time", "name", "value"], may_be_empty=True), began(folder))


def increase(folder: Path, name: str, begin: float, end: float) -> float:
    """By how much the metric `name` grew from `begin` to `end`; NaN if it was not seen."""
    rows = metrics(folder)
    rows = rows[rows["name"] == name]
    return float(np.diff(np.interp([begin, end], rows["time_s"], rows["value"])).item()) if len(rows) else np.nan


def generator(folder: Path) -> pd.DataFrame:
    """How late a timer of 20 ms fired in Locust: so late may it have sent a request or noticed an answer.

    Columns: time_s (as in `requests`), worker (0 unless Locust is distributed), late_ms.
    """
    return _since(_whole(folder / "generator.csv", ["time", "worker", "late_ms"], may_be_empty=True), began(folder))


def summary(folder: Path) -> dict[str, Any]:
    """The run in a few numbers, all of the measured time.

    requests_per_s, refused_per_s, failed_per_s: answered in it; unsent_per_s: due in it, and never sent;
    p50_ms, p95_ms, p99_ms: from when a request was due, of the successful ones and of those never sent,
    which count with as long as they had waited; p99_from_send_ms: of the successful ones;
    server_us, mongod_us: processor time for each successful request, in microseconds;
    server_cores, mongod_cores, locust_cores, machine_cores: used, of the `cores` there are;
    server_busiest, locust_busiest: cores that the busiest process of each used (1 is the most Python can);
    lag_ms: how late the server's event loop ran a timer, mean; waiting: requests inside the server, mean;
    generator_late: the share of the time by which Locust was late for itself;
    void: why the rates and latencies of this run are not to be quoted, or "";
    lost: why nothing of it is, or "".
    """
    run = record(folder)
    seconds = run["load"]["seconds"]
    rows = measured(folder)
    ok, waited = rows[rows["outcome"] == "ok"], rows[rows["outcome"].isin(["ok", UNSENT])]
    counts = answered(folder, 0.0, seconds)["outcome"].value_counts()
    succeeded = int(counts.get("ok", 0))
    processes = cpu_by_process(folder, 0.0, seconds)
    used = processes.groupby(level=0).sum()
    result = {
        "requests_per_s": succeeded / seconds,
        "refused_per_s": counts.get("refused", 0) / seconds,
        "failed_per_s": counts.get("failed", 0) / seconds,
        "unsent_per_s": int((rows["outcome"] == UNSENT).sum()) / seconds,
        **{f"p{q}_ms": waited["from_due_ms"].quantile(q / 100) for q in (50, 95, 99)},
        "p99_from_send_ms": ok["from_send_ms"].quantile(0.99),
        **{f"{role}_us": 1e6 * used.get(role, np.nan) / max(1, succeeded) for role in ("server", "mongod")},
        **{f"{role}_cores": used.get(role, np.nan) / seconds for role in ("server", "mongod", "locust", "machine")},
        "cores": run["machine"]["cores"],
        **{f"{role}_busiest": _busiest(processes, role) / seconds for role in ("server", "locust")},
        "lag_ms": 1000
        * increase(folder, f"{LAG}_sum", 0.0, seconds)
        / max(1.0, increase(folder, f"{LAG}_count", 0.0, seconds)),
        "waiting": _mean(folder, IN_FLIGHT, 0.0, seconds),
        "generator_late": generator_late(folder, 0.0, seconds),
    }
    lost = _lost(folder, seconds)
    void = _void(result["locust_busiest"], result["generator_late"], run["warnings"])
    return result | {"void": lost or void, "lost": lost}


def _busiest(processes: "pd.Series[float]", role: str) -> float:
    """Of the processor seconds of `cpu_by_process`, those of the process of `role` that used most; NaN without any."""
    return float(processes[processes.index.get_level_values(0) == role].max())


def generator_late(folder: Path, begin: float, end: float) -> float:
    """The share of the time from `begin` to `end` by which timers of Locust fired late, in its latest process."""
    rows = generator(folder)
    rows = rows[rows["time_s"].between(begin, end)]
    late = rows.groupby("worker")["late_ms"].sum() / 1000
    return float(late.max()) / (end - begin) if len(late) else np.nan


def _mean(folder: Path, name: str, begin: float, end: float) -> float:
    rows = metrics(folder)
    return float(rows.loc[(rows["name"] == name) & rows["time_s"].between(begin, end), "value"].mean())


def _void(busiest: float, late: float, warnings: list[str]) -> str:
    if busiest >= GENERATOR_LIMIT:
        return f"Locust used {busiest:.0%} of a core: it was the limit"
    if any("CPU usage" in warning for warning in warnings):
        return "Locust warned of its own CPU usage: it was the limit"
    if late >= LATE_LIMIT:
        return f"Locust was late by {late:.0%} of the time: it did not get the processor it needed"
    return ""


def _lost(folder: Path, seconds: float) -> str:
    samples = cpu(folder)
    if samples["time_s"].max() < seconds:
        return "the run ended before the measured time did"
    servers = samples[samples["role"] == "server"].groupby("pid")["time_s"].max()
    for pid, last in servers.items():
        if last < seconds:
            return f"the server (process {pid}) ended {last:.1f} s into the measured time"
    broken = exceptions(folder)
    if len(broken):
        return f"a behaviour of the scenario is broken: {broken['message'].iloc[0]}"
    return ""


def _since(rows: pd.DataFrame, start: float) -> pd.DataFrame:
    """The rows with `time_s`, seconds since `start`, in place of the Unix `time`."""
    return rows.assign(time=rows["time"] - start).rename(columns={"time": "time_s"})


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the row in which Locust mixes all names, reads with writes."""
    return rows[rows["name"] != "Aggregated"].reset_index(drop=True)


def _whole(path: Path, columns: list[str], may_be_empty: bool = False) -> pd.DataFrame:
    """A CSV of ours, in which every value is there; Locust leaves some out."""
    rows = _csv(path, columns, may_be_empty)
    if rows.isna().to_numpy().any():
        raise IngestError(f"{path} breaks off in the middle of a line: the run did not end well, run it again")
    return rows


def _csv(path: Path, columns: Sequence[str] | Mapping[str, str], may_be_empty: bool = False) -> pd.DataFrame:
    """The `columns` of a CSV, under their new names if it is a mapping."""
    try:
        rows = pd.read_csv(path, na_values=["N/A", ""], keep_default_na=False, usecols=list(columns))
    except (OSError, ValueError) as error:
        raise IngestError(f"{path} is not the CSV that a whole run leaves ({error}): run it again") from error
    if rows.empty and not may_be_empty:
        raise IngestError(f"{path} has no rows: no request was made")
    rows = rows[list(columns)]
    return rows.rename(columns=columns) if isinstance(columns, Mapping) else rows
