"""What was seen of a service under load: signals by name, each described once, and the time budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

from profiles.diagnosis.budget import Budget
from profiles.diagnosis.mongodb_watch import Query


@dataclass(frozen=True)
class Kind:
    """A kind of signal: its unit, what it is, where it comes from, and what fools it."""

    unit: str
    what: str
    source: str
    fooled_by: str


SIGNALS: Mapping[str, Kind] = {
    "answered_share": Kind(
        "of the offered",
        "requests answered well ÷ requests due",
        "Locust's log",
        "without a rate nothing is offered, and it is not seen",
    ),
    "answered_per_s": Kind(
        "a second", "requests answered well", "Locust's log", "a load that offers less than is taken"
    ),
    "refused_share": Kind(
        "of all requests",
        "answers with 429",
        "Locust's log",
        "a 503 that means the same",
    ),
    "failed_share": Kind(
        "of all requests",
        "answers with other errors",
        "Locust's log",
        "a scenario that asks for the impossible",
    ),
    "mean_ms": Kind("ms", "from due to answered, mean", "Locust's log, by Little's law", "a load that grows meanwhile"),
    "generator_core": Kind(
        "of a core",
        "what the busiest process of Locust used",
        "/proc",
        "a core that others share",
    ),
    "generator_late": Kind(
        "of the time",
        "by which timers in Locust fired late",
        "Locust's timer",
        "a full machine makes everybody late",
    ),
    "machine_busy": Kind(
        "of all cores",
        "processor time of everybody, and what a hypervisor took",
        "/proc/stat",
        "hyperthreads, each a core",
    ),
    "others_busy": Kind(
        "of all cores",
        "processor time of programs that have no part in the run, or that a hypervisor took",
        "/proc/stat less /proc of ours",
        "short-lived programs of ours",
    ),
    "server_cpu": Kind(
        "of what it can use",
        "of its busiest process: all threads, or the busiest one",
        "the process's clock, /proc/PID/task/*/schedstat",
        "native code that releases Python's lock",
    ),
    "server_delayed": Kind(
        "of the time",
        "a thread of it was ready and had no processor, the longest; or it was stopped",
        "/proc/PID/task/*/schedstat, /proc/PID/status",
        "a hypervisor that takes the processor away unseen",
    ),
    "server_threads": Kind(
        "threads",
        "did a tenth or more of the work of its busiest process",
        "/proc/PID/task/*/schedstat",
        "threads of which each does less",
    ),
    "lag_ms": Kind("ms", "how late the event loop ran a timer, mean", "/metrics", "a processor that others hold"),
    "unread_ms": Kind(
        "ms",
        "requests lay unread in the kernel, mean",
        "sock_diag, by Little's law",
        "bursts between two looks, which are 4 ms apart or more; without root a full machine",
    ),
    "mongod_cpu": Kind(
        "of what it can use",
        "processor time of MongoDB",
        "the process's clock, /proc/PID/task/*/schedstat",
        "work for others: see others_inside",
    ),
    "mongod_delayed": Kind(
        "of the time",
        "a thread of it was ready and had no processor, the longest; or it was stopped",
        "/proc/PID/task/*/schedstat, /proc/PID/status",
        "as above",
    ),
    "operation_ms": Kind(
        "ms",
        "an operation of the service in MongoDB, by its own clock, mean",
        "top",
        "count_documents and getMore, which it leaves out; the queue before it",
    ),
    "examined": Kind(
        "documents",
        "looked at for each that was returned",
        "serverStatus",
        "counts, and queries of others",
    ),
    "others_inside": Kind(
        "of the time",
        "MongoDB worked for other databases, summed over operations",
        "top",
        "their change streams",
    ),
    "syncing": Kind(
        "of the time",
        "the journal was being written to the disk",
        "serverStatus, wiredTiger.log",
        "writes of others",
    ),
    "sync_ms": Kind(
        "ms", "to write the journal to the disk once, mean", "serverStatus, wiredTiger.log", "a write-back cache"
    ),
    "ping_ms": Kind(
        "ms",
        "a ping of ours to MongoDB, on the service's way, lower quartile",
        "ping",
        "a way that is slow now and then",
    ),
    "distance_ms": Kind(
        "ms",
        "that ping, less one straight to MongoDB",
        "ping",
        "not seen where the ways are the same",
    ),
    "pool_ms": Kind(
        "ms", "an operation waited for a free connection, mean", "the driver's pool events", "threads: see the budget"
    ),
    "use_ms": Kind(
        "ms", "an operation used a connection, mean", "the driver's pool events", "a busy server reads late"
    ),
    "took_ms": Kind("ms", "the longer of operation_ms and use_ms", "both", "what fools them"),
    "connections": Kind("connections", "in use at a time, mean", "the driver's pool events", "operations of others"),
}
# Shares of the time after a request was sent, by the budget: what of it is summed.
SHARES: Mapping[str, tuple[str, ...]] = {
    "unread_share": ("unread by the server",),
    "application_share": ("application",),
    "queue_share": ("queue of writes",),
    "pool_share": ("waiting for a connection", "driver's threads"),
    "network_share": ("network or commit",),
    "mongodb_share": ("in MongoDB", "unread by MongoDB"),
    "unread_by_mongodb": ("unread by MongoDB",),
    "database_share": ("in MongoDB", "unread by MongoDB", "network or commit", "unread from MongoDB"),
    "way_back_share": ("answer unread",),
}


@dataclass(frozen=True)
class Evidence:
    """What was seen: the signals by name (NaN: not seen), the budget, and the operation that MongoDB was busiest with.

    lost: why this run tells nothing, or ""; generator: why the load generator was the limit, or "".
    """

    values: Mapping[str, float]
    budget: Budget
    query: Query | None = None
    lost: str = ""
    generator: str = ""

    def __getitem__(self, name: str) -> float:
        return self.values.get(name, nan)
