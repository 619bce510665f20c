"""Run folders (see `loadtests.run`) as tidy DataFrames: one row is one thing, and columns carry their unit.

`Run(folder)` reads each file once, when it is first asked for. What is returned is shared: copy it before changing it.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loadtests.request_log import UNANSWERED, UNSENT

HISTORY_COLUMNS = {
    "Timestamp": "time",
    "Type": "method",
    "Name": "name",
    "User Count": "users",
    "Requests/s": "requests_per_s",
    "Failures/s": "failures_per_s",
    "50%": "p50_ms",
    "95%": "p95_ms",
    "99%": "p99_ms",
}
STATS_COLUMNS = {
    "Type": "method",
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
# What Locust calls the row in which it adds up all others. It has no method, which tells it from a request so named.
AGGREGATED = "Aggregated"
TEXT = {"name", "method", "error", "message", "traceback", "nodes", "role", "outcome"}


class IngestError(Exception):
    """A folder does not hold a whole run. The text says what is missing."""


class Run:
    """What a run left in its folder. Raises `IngestError` for what is missing or broken, when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def record(self) -> dict[str, Any]:
        """What `run.json` says about the run."""
        try:
            return dict(json.loads((self.folder / "run.json").read_text()))
        except (OSError, ValueError) as error:
            raise IngestError(f"{self.folder} holds no finished run: its run.json cannot be read ({error})") from error

    @property
    def seconds(self) -> float:
        """How long the measured time is."""
        return float(self.record["load"]["seconds"])

    @cached_property
    def began(self) -> float:
        """When the measured time began, in Unix seconds: every worker had begun, and the warm-up after that."""
        return float(self._log["due"].min()) + self.spread + float(self.record["load"]["warmup"])

    @cached_property
    def spread(self) -> float:
        """How many seconds after the first of Locust's workers the last one began; 0 for one worker."""
        begins = self._beats.groupby("worker")["time"].min()
        return float(begins.max() - begins.min()) if len(begins) else 0.0

    @cached_property
    def stats(self) -> pd.DataFrame:
        """Locust's summary of the whole run, warm-up included; a row for each method and name.

        Columns: method, name, requests, failures (counts), requests_per_s, p50_ms, p95_ms, p99_ms, max_ms (all from
        when a request was sent). Locust writes this once a second and not once more at the end, so the last
        requests may be missing from it; `requests` has them.
        """
        return locust_stats(self.folder / "locust_stats.csv")

    @cached_property
    def history(self) -> pd.DataFrame:
        """Locust's view of the run second by second: see `locust_history`."""
        return locust_history(self.folder / "locust_stats_history.csv")

    @cached_property
    def failures(self) -> pd.DataFrame:
        """What Locust counted as failures, no rows if nothing failed.

        Columns: method, name, error (as Locust words it), count.
        """
        return _csv(self.folder / "locust_failures.csv", FAILURES_COLUMNS, may_be_empty=True)

    @cached_property
    def exceptions(self) -> pd.DataFrame:
        """Errors in the behaviours themselves, which are no answers of the service; no rows if there were none.

        Columns: count, message, traceback, nodes (the Locust processes it happened in).
        """
        return _csv(self.folder / "locust_exceptions.csv", EXCEPTIONS_COLUMNS, may_be_empty=True)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """Every request of the run, to the microsecond; a row each.

        Columns: due_s, sent_s (0 is the end of the warm-up, which is negative), name, from_due_ms and
        from_send_ms (how long the answer took, from either), status (0 for no answer), outcome.
        outcome is ok (below 400), refused (429), failed (another status, a wrong answer, or a broken connection),
        unanswered (no answer when the run ended, 5 s after the load did), or unsent (no user was free to send it); of
        the last two from_due_ms is how long they had waited then. Without a rate a request is due when it is sent.
        """
        rows = self._log
        return pd.DataFrame(
            {
                "due_s": rows["due"] - self.began,
                "sent_s": rows["sent"] - self.began,
                "name": rows["name"],
                "from_due_ms": (rows["sent"] - rows["due"]) * 1000 + rows["milliseconds"],
                "from_send_ms": rows["milliseconds"],
                "status": rows["status"],
                "outcome": rows["outcome"],
            }
        )

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The rows of `requests` that belong to the measured time, whenever they were answered.

        That is what was due in it. Without a rate it is also what was sent before and still had no answer when it
        ended: nothing else tells of a caller who waits all the time.
        """
        rows = self.requests
        belongs = (rows["due_s"] >= 0) & (rows["due_s"] < self.seconds)
        if not self.record["load"]["rate"]:
            belongs |= (rows["due_s"] < 0) & (rows["due_s"] + rows["from_due_ms"] / 1000 >= self.seconds)
        return rows.loc[belongs].reset_index(drop=True)

    def answered(self, begin: float, end: float) -> pd.DataFrame:
        """The rows of `requests` that were answered from `begin` to before `end`, in seconds."""
        rows = self.requests
        at = rows["sent_s"] + rows["from_send_ms"] / 1000
        answered = ~rows["outcome"].isin([UNSENT, UNANSWERED])
        return rows.loc[(at >= begin) & (at < end) & answered].reset_index(drop=True)

    @cached_property
    def cpu(self) -> pd.DataFrame:
        """The processor use of each process; a row for each sample and process.

        Columns: time_s (as in `requests`), role (server, mongod, database, locust; machine is all that ran on it),
        pid, cpu_seconds (used so far), cores (used since the sample before; 1.0 is one core).
        """
        rows = self._since_began(_whole(self.folder / "cpu.csv", ["time", "role", "pid", "cpu_seconds"]))
        each = rows.groupby(["role", "pid"])
        rows["cores"] = each["cpu_seconds"].diff() / each["time_s"].diff()
        return rows

    def cpu_by_process(self, begin: float, end: float) -> "pd.Series[float]":
        """Processor seconds from `begin` to `end`, by (role, pid), read off the samples by interpolation."""
        return pd.Series(
            {
                key: float(np.diff(np.interp([begin, end], samples["time_s"], samples["cpu_seconds"])).item())
                for key, samples in self.cpu.groupby(["role", "pid"])
            },
            dtype=float,
        )

    def cpu_seconds(self, begin: float, end: float) -> dict[str, float]:
        """Processor seconds that each role used from `begin` to `end`, all its processes together."""
        used = self.cpu_by_process(begin, end).groupby(level=0).sum()
        return {str(role): float(seconds) for role, seconds in used.items()}

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """What the service's /metrics said; no rows if it has no such page.

        Columns: time_s (as in `requests`), name, value (labels summed).
        """
        return self._since_began(_whole(self.folder / "metrics.csv", ["time", "name", "value"], may_be_empty=True))

    def increase(self, name: str, begin: float, end: float) -> float:
        """By how much the metric `name` grew from `begin` to `end`; NaN if it was not seen."""
        rows = self.metrics[self.metrics["name"] == name]
        return float(np.diff(np.interp([begin, end], rows["time_s"], rows["value"])).item()) if len(rows) else np.nan

    def mean(self, name: str, begin: float, end: float) -> float:
        """The mean of the metric `name` from `begin` to `end`; NaN if it was not seen."""
        rows = self.metrics
        return float(rows.loc[(rows["name"] == name) & rows["time_s"].between(begin, end), "value"].mean())

    @cached_property
    def generator(self) -> pd.DataFrame:
        """How late a timer of 20 ms fired in Locust: so late may it have sent a request or noticed an answer.

        Columns: time_s (as in `requests`), worker (0 unless Locust is distributed), late_ms.
        """
        return self._since_began(self._beats)

    @cached_property
    def workers(self) -> pd.DataFrame:
        """Which Locust processes took part; a row for each time one was heard of.

        Columns: time_s (as in `requests`), worker, clock_ms (how far its clock was behind the master's; how long its
        report took is part of that).
        """
        path = self.folder / "workers.csv"
        return self._since_began(_whole(path, ["time", "worker", "clock_ms"], may_be_empty=True))

    @cached_property
    def _log(self) -> pd.DataFrame:
        columns = ["due", "sent", "name", "milliseconds", "status", "outcome"]
        return _whole(self.folder / "requests.csv", columns)

    @cached_property
    def _beats(self) -> pd.DataFrame:
        return _whole(self.folder / "generator.csv", ["time", "worker", "late_ms"], may_be_empty=True)

    def _since_began(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with `time_s`, seconds of the measured time, in place of the Unix `time`."""
        return rows.assign(time=rows["time"] - self.began).rename(columns={"time": "time_s"})


def locust_stats(path: Path) -> pd.DataFrame:
    """Locust's `..._stats.csv`, of whichever run: see `Run.stats`."""
    return _named(_csv(path, STATS_COLUMNS))


def locust_history(path: Path) -> pd.DataFrame:
    """Locust's `..._stats_history.csv`, of whichever run; a row for each second and name.

    Columns: time_s (since the first row), method, name, users, requests_per_s, failures_per_s, and p50_ms, p95_ms,
    p99_ms of about the last 10 s with --csv-full-history, else of the whole run so far. Without that option all names
    are together in one row for each second, called Aggregated. Rates are of another slice, about 10 s that end 2 s
    ago, so they rise late. Seconds in which there was nothing to count are left out.
    """
    rows = _csv(path, HISTORY_COLUMNS)
    named = _named(rows)
    rows = rows if named.empty else named
    rows = rows.assign(time=rows["time"] - rows["time"].min()).rename(columns={"time": "time_s"})
    known = rows["p50_ms"].gt(0) & rows.notna().all(axis=1)
    return rows[known].reset_index(drop=True)


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the row in which Locust mixes all names, reads with writes."""
    return rows[(rows["name"] != AGGREGATED) | (rows["method"] != "")].reset_index(drop=True)


def _whole(path: Path, columns: list[str], may_be_empty: bool = False) -> pd.DataFrame:
    """A CSV of ours, in which every value is there; Locust leaves some out."""
    rows = _csv(path, columns, may_be_empty)
    if rows.isna().to_numpy().any() or ("outcome" in rows and (rows["outcome"] == "").any()):
        raise IngestError(f"{path} breaks off in the middle of a line: the run did not end well, run it again")
    return rows


def _csv(path: Path, columns: Sequence[str] | Mapping[str, str], may_be_empty: bool = False) -> pd.DataFrame:
    """The `columns` of a CSV, under their new names if it is a mapping. Text stays as it is, be it "" or "N/A"."""
    names = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    text = {old for old, new in names.items() if new in TEXT}
    try:
        rows = pd.read_csv(
            path,
            usecols=list(names),
            dtype=dict.fromkeys(text, str),
            na_values={old: ["N/A", ""] for old in names if old not in text},
            keep_default_na=False,
        )
    except (OSError, ValueError) as error:
        raise IngestError(f"{path} is not the CSV that a whole run leaves ({error}): run it again") from error
    if rows.empty and not may_be_empty:
        raise IngestError(f"{path} has no rows: no request was made")
    return rows[list(names)].rename(columns=names).fillna({names[old]: "" for old in text})
