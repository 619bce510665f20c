"""Gather the evidence of what limits a service: load it, and read its CPU time, its metrics and MongoDB's counters.

MongoDB is asked as well, because the time that the driver measures is no proof of a slow database: waiting for a
connection and for the server's own event loop is part of it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from harness import clock, watch
from harness.threads import meanwhile
from loadtests.ingest import Run
from loadtests.run import Load, run
from loadtests.service import CONNECTION_WAIT, DATABASE_SECONDS, REQUEST_SECONDS, REQUESTS
from loadtests.summary import FULL_MACHINE, MACHINE_FULL, summarize

KEPT_UP = 0.99
# A MongoDB that takes so long for an operation is slow, on a machine that has time; a ping takes below 1 ms.
SLOW_MS = 10.0
PROBE_SECONDS = 0.1
TIMEOUT_MS = 5000


@dataclass(frozen=True)
class Evidence:
    """What was seen in the measured time; NaN where nothing could be. Times are summed over all requests.

    refused: share of the requests; generator: why the load generator was the limit, or ""; server_cores:
    of its busiest process; lag_ms: of its event loop; request_s, database_s, pool_s: spent on requests, on
    MongoDB as the driver sees it, and on waiting for a connection; pool_ms: such a wait, mean; inside_s: in
    MongoDB as it sees itself; probe_ms: a ping of ours, mean; operations: reads and writes in MongoDB;
    mongod_cores; machine: share of all cores of the machine that worked; lost: why this run tells nothing,
    or ""; kept_up: whether all was answered that was offered at a rate.
    """

    refused: float
    generator: str
    server_cores: float
    lag_ms: float
    request_s: float
    database_s: float
    pool_s: float
    pool_ms: float
    inside_s: float
    probe_ms: float
    operations: float
    mongod_cores: float
    machine: float
    lost: str = ""
    kept_up: bool = False

    @property
    def inside_ms(self) -> float:
        """How long an operation takes in MongoDB, by its own clock, mean."""
        return 1000 * self.inside_s / self.operations if self.operations else nan

    @property
    def operation_ms(self) -> float:
        """How long an operation takes in MongoDB, or a ping if that takes longer."""
        return max((each for each in (self.probe_ms, self.inside_ms) if not isnan(each)), default=nan)

    @property
    def database_part(self) -> float:
        """The share of the requests' time that the service spent on MongoDB, as it sees it itself."""
        return self.database_s / self.request_s if self.request_s else nan

    @property
    def waited_for_database(self) -> float:
        """The share of the requests' time that went to MongoDB, without waiting for a connection to it."""
        return (self.database_s - self.pool_s) / self.request_s if self.request_s else nan

    @property
    def slow_for_others(self) -> bool:
        """Whether MongoDB is slow whoever asks: then requests may also wait for a thread to ask it with."""
        return self.operation_ms >= SLOW_MS and self.machine < FULL_MACHINE

    @property
    def proven_inside(self) -> float:
        """How much of that time MongoDB accounts for, by its own clock or by the time a stranger's ping takes."""
        outside = self.database_s - self.pool_s
        pinged = self.operations * self.probe_ms / 1000
        known = [each for each in (self.inside_s, pinged) if not isnan(each)]
        return max(known) / outside if known and outside > 0 else nan


def look(load: Load, url: str, folder: Path, mongodb_uri: str | None = None) -> Evidence:
    """Put `load` on the service at `url`, and gather the evidence; the run folder is `folder`.

    MongoDB is asked at `mongodb_uri`, or where the server's connections lead. Raises `RunError`.
    """
    with _asked(mongodb_uri or _mongodb_behind(url)) as answers:
        run(load, url, folder, title=f"{load.title}, looking")
    return evidence(folder, answers)


@dataclass
class Answers:
    """What MongoDB said while it was asked: (Unix time, ping in ms, µs in operations, operations), so far."""

    rows: list[tuple[float, float, float, float]] = field(default_factory=list)


def evidence(folder: Path, answers: Answers) -> Evidence:
    """The evidence in a run folder, and in what MongoDB said meanwhile."""
    summary, seconds = summarize(Run(folder)), Run(folder).record["load"]["seconds"]
    started, rate = Run(folder).began, Run(folder).record["load"]["rate"]
    asked = [row for row in answers.rows if started <= row[0] <= started + seconds]
    first, last = (asked[0], asked[-1]) if asked else ((nan,) * 4, (nan,) * 4)
    # MongoDB was asked for a little less than the measured time; the shares below are of all of it.
    stretch = seconds / (last[0] - first[0]) if len(asked) > 1 else nan

    def grown(name: str) -> float:
        return Run(folder).increase(name, 0.0, seconds)

    waits = grown(f"{CONNECTION_WAIT}_count")
    # Of several workers one is asked, of MongoDB's work its part counts.
    answered = Run(folder).answered(0.0, seconds)
    part = min(1.0, grown(REQUESTS) / len(answered)) if len(answered) else nan
    total = sum(summary[name] for name in ("requests_per_s", "refused_per_s", "failed_per_s"))
    return Evidence(
        refused=summary["refused_per_s"] / total if total else 0.0,
        generator="" if summary["lost"] or summary["void"].startswith(MACHINE_FULL) else summary["void"],
        server_cores=summary["server_busiest"],
        lag_ms=summary["lag_ms"],
        request_s=grown(REQUEST_SECONDS),
        database_s=grown(DATABASE_SECONDS),
        pool_s=grown(f"{CONNECTION_WAIT}_sum"),
        pool_ms=1000 * grown(f"{CONNECTION_WAIT}_sum") / waits if waits else nan,
        inside_s=(last[2] - first[2]) * stretch * part / 1e6,
        probe_ms=sum(row[1] for row in asked) / len(asked) if asked else nan,
        operations=(last[3] - first[3]) * stretch * part,
        mongod_cores=summary["mongod_cores"],
        machine=summary["machine_cores"] / summary["cores"],
        lost=summary["lost"],
        kept_up=bool(rate and summary["requests_per_s"] >= KEPT_UP * rate),
    )


@contextmanager
def _asked(mongodb_uri: str | None) -> Iterator[Answers]:
    """Ask MongoDB again and again while the block runs, on a connection of our own."""
    answers = Answers()
    if mongodb_uri is None:
        yield answers
        return

    def keep_asking(ended: threading.Event) -> None:
        while not ended.wait(PROBE_SECONDS):
            try:
                began = time.perf_counter()
                client.admin.command("ping")
                ping = (time.perf_counter() - began) * 1000
                latencies = client.admin.command("serverStatus")["opLatencies"]
            except (PyMongoError, KeyError):
                continue  # it is away, or not ours to ask; without answers there is no proof
            kinds = (latencies["reads"], latencies["writes"])
            inside, count = (sum(float(each[name]) for each in kinds) for name in ("latency", "ops"))
            answers.rows.append((clock.now(), ping, inside, count))

    with MongoClient[dict[str, Any]](mongodb_uri, timeoutMS=TIMEOUT_MS) as client, meanwhile(keep_asking):
        yield answers


def _mongodb_behind(url: str) -> str | None:
    """The address of the mongod of this machine that the server is connected to, if there is one."""
    for mongod in watch.behind(url).roles["mongod"]:
        for port in watch.listening_ports(mongod):
            return f"mongodb://127.0.0.1:{port}/?directConnection=true"
    return None
