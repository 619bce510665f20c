"""Run folders (see `loadtests.run`) as tidy DataFrames: one row is one thing, and columns carry their unit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Above this share of a core Locust queues behind itself, and measures that too.
GENERATOR_LIMIT = 0.8
REFUSED = 429

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


class IngestError(Exception):
    """A folder does not hold a whole run. The text says what is missing."""


def record(folder: Path) -> dict[str, Any]:
    """What `run.json` says about the run."""
    try:
        return dict(json.loads((folder / "run.json").read_text()))
    except (OSError, ValueError) as error:
        raise IngestError(f"{folder} holds no finished run: its run.json cannot be read ({error})") from error


def began(folder: Path) -> float:
    """When the measured time began, in Unix seconds: the first request, and the warm-up after it."""
    first = float(_csv(folder / "requests.csv", ["time"])["time"].min())
    return first + float(record(folder)["load"]["warmup"])


def stats(folder: Path) -> pd.DataFrame:
    """Locust's summary of the whole run, warm-up included; a row for each name.

    Columns: name, requests, failures (counts), requests_per_s, p50_ms, p95_ms, p99_ms, max_ms.
    """
    return _locust_csv(folder / "locust_stats.csv", STATS_COLUMNS)


def history(folder: Path) -> pd.DataFrame:
    """Locust's view of the run second by second; a row for each second and name.

    Columns: time_s (since the first row), name, users, requests_per_s, failures_per_s, and p50_ms,
    p95_ms, p99_ms of about the last 10 s. Rates are of another slice, about 10 s that end 2 s ago, so
    they rise late. Seconds in which there was nothing to count are left out.
    """
    rows = _locust_csv(folder / "locust_stats_history.csv", HISTORY_COLUMNS)
    rows = _since(rows, rows["time"].min())
    return rows[rows["p50_ms"] > 0].dropna().reset_index(drop=True)


def requests(folder: Path) -> pd.DataFrame:
    """Every request of the run, exactly; a row each.

    Columns: time_s (when it was sent; 0 is the end of the warm-up, which is negative), name,
    milliseconds, status (0 for no answer), outcome (ok, refused, failed).
    """
    rows = _since(_own_csv(folder / "requests.csv", ["time", "name", "milliseconds", "status"]), began(folder))
    outcomes = [(rows["status"] // 100 == 2) | (rows["status"] == 304), rows["status"] == REFUSED]
    rows["outcome"] = np.select(outcomes, ["ok", "refused"], "failed")
    return rows


def measured(folder: Path) -> pd.DataFrame:
    """The requests that were answered in the measured time: without warm-up and what came too late."""
    return answered(folder, 0.0, record(folder)["load"]["seconds"])


def answered(folder: Path, begin: float, end: float) -> pd.DataFrame:
    """The rows of `requests` that were answered from `begin` to before `end`, in seconds."""
    rows = requests(folder)
    at = rows["time_s"] + rows["milliseconds"] / 1000
    return rows.loc[(at >= begin) & (at < end)].reset_index(drop=True)


def cpu(folder: Path) -> pd.DataFrame:
    """The processor use of each role; a row for each sample and role.

    Columns: time_s (as in `requests`), role (server, mongod, locust), cpu_seconds (used so far),
    cores (used since the sample before; 1.0 is one core).
    """
    rows = _since(_own_csv(folder / "cpu.csv", ["time", "role", "cpu_seconds"]), began(folder))
    per_role = rows.groupby("role")
    rows["cores"] = per_role["cpu_seconds"].diff() / per_role["time_s"].diff()
    return rows


def cpu_seconds(folder: Path, begin: float, end: float) -> dict[str, float]:
    """Processor seconds that each role used from `begin` to `end`, read off its samples by interpolation."""
    return {
        str(role): float(np.diff(np.interp([begin, end], samples["time_s"], samples["cpu_seconds"])).item())
        for role, samples in cpu(folder).groupby("role")
    }


def summary(folder: Path) -> dict[str, Any]:
    """The run in a few numbers, all of the measured time.

    requests_per_s, refused_per_s, failed_per_s; p50_ms, p95_ms, p99_ms of the successful requests;
    server_us, mongod_us: processor time for each successful request, in microseconds; server_cores,
    mongod_cores, locust_cores; void: why the load generator was the limit, or "".
    """
    run = record(folder)
    seconds = run["load"]["seconds"]
    rows = measured(folder)
    counts = rows["outcome"].value_counts()
    ok = rows[rows["outcome"] == "ok"]
    used = cpu_seconds(folder, 0.0, seconds)
    result = {
        "requests_per_s": len(ok) / seconds,
        "refused_per_s": counts.get("refused", 0) / seconds,
        "failed_per_s": counts.get("failed", 0) / seconds,
        **{f"p{q}_ms": ok["milliseconds"].quantile(q / 100) for q in (50, 95, 99)},
        **{f"{role}_us": 1e6 * used.get(role, np.nan) / max(1, len(ok)) for role in ("server", "mongod")},
        **{f"{role}_cores": used.get(role, np.nan) / seconds for role in ("server", "mongod", "locust")},
    }
    return result | {"void": _void(result["locust_cores"], run["warnings"])}


def _void(locust_cores: float, warnings: list[str]) -> str:
    if locust_cores >= GENERATOR_LIMIT:
        return f"Locust used {locust_cores:.0%} of a core: it was the limit"
    if any("CPU usage" in warning for warning in warnings):
        return "Locust warned of its own CPU usage: it was the limit"
    return ""


def _since(rows: pd.DataFrame, start: float) -> pd.DataFrame:
    """The rows with `time_s`, seconds since `start`, in place of the Unix `time`."""
    return rows.assign(time=rows["time"] - start).rename(columns={"time": "time_s"})


def _locust_csv(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    rows = _csv(path, list(columns)).rename(columns=columns)
    return rows[list(columns.values())][rows["name"] != "Aggregated"].reset_index(drop=True)


def _own_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    """A CSV of ours, in which every value is there; Locust leaves some out."""
    rows = _csv(path, columns)
    if rows.isna().to_numpy().any():
        raise IngestError(f"{path} breaks off in the middle of a line: the run did not end well, run it again")
    return rows


def _csv(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, na_values=["N/A"], usecols=columns)
    except (OSError, ValueError) as error:
        raise IngestError(f"{path} is not the CSV that a whole run leaves ({error}): run it again") from error
    if rows.empty:
        raise IngestError(f"{path} has no rows: no request was made")
    return rows
