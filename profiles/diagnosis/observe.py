"""Load a service, look at it, its database and the machine meanwhile, and gather the evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from harness import watch
from harness.sockets import tcp_sockets
from loadtests import service
from loadtests.ingest import Run
from loadtests.request_log import OK, REFUSED, UNSENT
from loadtests.run import Load, run
from loadtests.summary import summarize
from profiles.diagnosis import kernel_watch, mongodb_watch
from profiles.diagnosis.budget import budget
from profiles.diagnosis.evidence import SHARES, Evidence
from profiles.diagnosis.kernel_watch import KernelWatch
from profiles.diagnosis.mongodb_watch import MongodbWatch

MS = 1000.0


def look(
    load: Load,
    url: str,
    folder: Path,
    mongodb_uri: str | None = None,
    database: str | None = None,
    pid: int | None = None,
) -> Evidence:
    """Put `load` on the service at `url`, and gather the evidence; the run folder is `folder`.

    MongoDB is asked at `mongodb_uri`, or where the server's connections lead; `database` is the service's, all if None.
    Raises `RunError`.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    ports, callers = _connections(url, port)
    at = mongodb_watch.address(mongodb_uri, ports)
    direct = mongodb_watch.direct_port(at) if at else None
    listening = [*ports, *([direct] if direct else [])]
    with (
        kernel_watch.watching(url, port, listening) as kernel,
        mongodb_watch.watching(at, direct, database, callers) as mongodb,
    ):
        run(load, url, folder, title=f"{load.title}, looking", pid=pid)
    return evidence(Run(folder), kernel, mongodb, has_other_way=direct not in (None, *ports))


def evidence(seen: Run, kernel: KernelWatch, mongodb: MongodbWatch, has_other_way: bool = False) -> Evidence:
    """The evidence in a run, and in what the kernel and MongoDB told meanwhile."""
    observed = _Observed(seen, kernel, mongodb, has_other_way)
    spent = budget(observed.total_ms, observed.parts())
    shares = {name: spent.share(*parts) for name, parts in SHARES.items()}
    values = {**observed.by_locust(), **observed.by_the_kernel(), **observed.by_the_database(), **shares}
    lost, void = observed.summary["lost"], observed.summary["void"]
    return Evidence(values, spent, mongodb.slowest(), lost, "" if lost else void)


@dataclass(frozen=True)
class _Observed:
    """A run and all who watched it, in its measured time."""

    run: Run
    kernel: KernelWatch
    mongodb: MongodbWatch
    has_other_way: bool

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        return summarize(self.run)

    @property
    def window(self) -> tuple[float, float]:
        """When the measured time began and ended, in Unix seconds."""
        return self.run.began, self.run.began + self.run.seconds

    @cached_property
    def per_s(self) -> float:
        """Answers a second, of any kind."""
        return len(self.run.answered(0.0, self.run.seconds)) / self.run.seconds

    @cached_property
    def told(self) -> float:
        """The share of the answers of which the service tells in its metrics: of several workers, one does."""
        answers = self.per_s * self.run.seconds
        is_alone = len(self.run.record["processes"]["server"]) == 1
        return 1.0 if is_alone else min(1.0, self.grown(service.REQUESTS) / answers) if answers else nan

    @property
    def total_ms(self) -> float:
        """From when a request was due to its answer, mean."""
        rows = self.run.requests
        return self._mean_ms(rows["due_s"], rows["due_s"] + rows["from_due_ms"] / MS)

    def grown(self, name: str) -> float:
        """By how much a metric of the service's grew."""
        return self.run.increase(name, 0.0, self.run.seconds)

    def each_ms(self, name: str) -> float:
        """A metric of the service's in seconds, as ms for each request."""
        answers = self.told * self.per_s * self.run.seconds
        return MS * self.grown(name) / answers if answers else nan

    def unread_ms(self, who: str) -> float:
        """How long a request, or its answer, lay unread, mean: Little's law."""
        return MS * self.kernel.mean_unread(who, *self.window) / self.per_s if self.per_s else nan

    @property
    def in_use(self) -> float:
        """How many connections of the driver were in use at a time, mean."""
        return self.grown(f"{service.CONNECTION_USE}_sum") / self.run.seconds

    def parts(self) -> dict[str, float]:
        """The parts of the budget, in ms for each request; NaN for those that were not seen."""
        rows = self.run.requests
        until = (rows["due_s"] + rows["from_due_ms"] / MS).clip(upper=rows["sent_s"])
        database, queue = self.each_ms(service.DATABASE_SECONDS), self.each_ms(service.QUEUE_SECONDS)
        pool, connected = self.each_ms(service.POOL_SECONDS), self.each_ms(service.CONNECTION_SECONDS)
        inside = self._of_use(self.mongodb.grown("inside", *self.window))
        before = self._of_use(self.kernel.mean_unread("operations", *self.window))
        # Connections that are in no pool, such as that of a change stream, hold unread bytes too: never more than this.
        left = max(0.0, connected - _or_zero(inside) - _or_zero(before))
        after = min(self._of_use(self.kernel.mean_unread("replies", *self.window)), left)
        return {
            "waiting to be sent": self._mean_ms(rows["due_s"], until),
            "unread by the server": self.unread_ms("requests"),
            "application": self.each_ms(service.REQUEST_SECONDS) - database - queue,
            "queue of writes": queue,
            "waiting for a connection": pool,
            "driver's threads": database - pool - connected,
            "network or commit": left - _or_zero(after) if not isnan(connected) else nan,
            "unread by MongoDB": before,
            "in MongoDB": inside,
            "unread from MongoDB": after,
            "answer unsent": self.each_ms(service.UNSENT_SECONDS),
            "answer unread": self.unread_ms("answers"),
        }

    def by_locust(self) -> dict[str, float]:
        """The signals of the load: what was offered and answered, and how Locust was."""
        summary, rate, measured = self.summary, self.run.record["load"]["rate"], self.run.measured
        failed = ~measured["outcome"].isin([OK, REFUSED, UNSENT])
        return {
            "answered_per_s": summary["requests_per_s"],
            "answered_share": summary["requests_per_s"] / rate if rate else nan,
            "refused_share": float((measured["outcome"] == REFUSED).mean()),
            "failed_share": float(failed.mean()),
            "mean_ms": self.total_ms,
            "generator_core": summary["locust_busiest"],
            "generator_late": summary["generator_late"],
        }

    def by_the_kernel(self) -> dict[str, float]:
        """The signals of processes and sockets."""
        kernel, window, cores = self.kernel, self.window, float(self.summary["cores"])
        server_cpu, server_delayed = kernel.processor("server", *window)
        mongod_cpu, mongod_delayed = kernel.processor("mongod", *window)
        machine = kernel.grown(kernel.busy, *window)
        roles = ("server", "mongod", "database", "locust")
        known = sum(_or_zero(self.summary[f"{role}_cores"]) for role in roles)
        others = machine - known - _or_zero(kernel.grown(kernel.ours, *window))
        return {
            "machine_busy": machine / cores,
            "others_busy": max(0.0, others) / cores,
            "server_cpu": server_cpu,
            "server_delayed": server_delayed,
            "server_threads": kernel.working_threads("server", *window),
            "lag_ms": self.summary["lag_ms"],
            "unread_ms": self.unread_ms("requests"),
            "mongod_cpu": mongod_cpu,
            "mongod_delayed": mongod_delayed,
        }

    def by_the_database(self) -> dict[str, float]:
        """The signals of MongoDB, and of the way there."""
        mongodb, window = self.mongodb, self.window
        operations, syncs = mongodb.grown("operations", *window), mongodb.grown("syncs", *window)
        operation = MS * mongodb.grown("inside", *window) / operations if operations else nan
        uses = self.grown(f"{service.CONNECTION_WAIT}_count")
        use = MS * self.in_use * self.run.seconds / uses if uses else nan
        ping = mongodb.ping_ms(*window)
        return {
            "operation_ms": operation,
            "examined": mongodb.grown("examined", *window) / max(1.0, mongodb.grown("returned", *window)),
            "others_inside": mongodb.grown("others", *window),
            "syncing": mongodb.grown("syncing", *window),
            "sync_ms": MS * mongodb.grown("syncing", *window) / syncs if syncs else nan,
            "ping_ms": ping,
            "distance_ms": ping - mongodb.ping_ms(*window, name="direct_ms") if self.has_other_way else nan,
            "pool_ms": MS * self.grown(f"{service.CONNECTION_WAIT}_sum") / uses if uses else nan,
            "use_ms": use,
            "took_ms": max(_or_zero(use), _or_zero(operation)) or nan,
            "connections": self.in_use,
        }

    def _mean_ms(self, begin: "pd.Series[float]", end: "pd.Series[float]") -> float:
        """The mean of the stretches from `begin` to `end` for each answer, by what of them lies in the measured time.

        By Little's law this is the mean time of a request, those included that wait to the end.
        """
        ends = end.clip(0.0, self.run.seconds) - begin.clip(0.0, self.run.seconds)
        return MS * float(ends.clip(lower=0.0).sum()) / (self.per_s * self.run.seconds) if self.per_s else nan

    def _of_use(self, busy: float) -> float:
        """Of the time that a request has a connection, in ms, that in which `busy` connections at a time did something.

        Of several workers of the service one tells its metrics, and of what the others do the same share is left out.
        """
        if not self.in_use:
            return 0.0 * busy
        return self.each_ms(service.CONNECTION_SECONDS) * busy * self.told / self.in_use


def _or_zero(value: float) -> float:
    return 0.0 if isnan(value) else value


def _connections(url: str, port: int) -> tuple[list[int], list[int]]:
    """The ports of this machine to which the server at `url` is connected, and its own ends of these connections."""
    pids, sockets = {each.pid for each in watch.behind(url).roles["server"]}, tcp_sockets()
    ends = [each for each in sockets if each.pid in pids and not each.listens and each.port != port]
    listening = {each.port for each in sockets if each.listens} - {port}
    return (
        sorted({each.remote_port for each in ends if each.remote_port in listening}),
        sorted({each.port for each in ends if each.remote_port in listening}),
    )
