"""What MongoDB tells of itself while a run lasts: time by its own clock, plans, the disk, and how far away it is."""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import nan
from typing import Any, Self

import bson
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from harness import clock, mongod
from harness.threads import meanwhile

PROBE_SECONDS = 0.15
TIMEOUT_MS = 3000
NAME = "lab-diagnosis"
OPTIONS: dict[str, Any] = {"timeoutMS": TIMEOUT_MS, "serverSelectionTimeoutMS": TIMEOUT_MS, "appname": NAME}
# An OP_MSG of the wire protocol: its length, id, what it answers, opcode, flags, the kind of section, and that.
COMMAND = bson.encode({"ping": 1, "$db": "admin"})
PING = struct.pack("<iiiiIB", 21 + len(COMMAND), 1, 0, 2013, 0, 0) + COMMAND
NOT_OURS = ("admin", "config", "local")
Client = MongoClient[dict[str, Any]]


@dataclass(frozen=True)
class Query:
    """An operation of the service, as MongoDB named it: its kind, collection and plan, and what it filters by."""

    operation: str
    namespace: str
    plan: str
    fields: str

    def __str__(self) -> str:
        by = f" by {self.fields}" if self.fields else ""
        return f"{self.operation} on {self.namespace}{by}, plan {self.plan or 'unknown'}"


@dataclass(frozen=True)
class Counters:
    """MongoDB's counters at `time`, each so far.

    inside: s in operations on our collections, by its own clock; operations: how many; others: s in operations on
    other collections; examined, returned: documents; syncs, syncing: times and s in which the journal was written to
    the disk. ping_ms: a ping of ours, on the way that the service takes; direct_ms: one straight to MongoDB.
    """

    time: float
    inside: float
    operations: float
    others: float
    examined: float
    returned: float
    syncs: float
    syncing: float
    ping_ms: float
    direct_ms: float


@dataclass
class MongodbWatch:
    """What was noted, to be asked for a stretch of time. NaN where MongoDB could not be asked."""

    counters: list[Counters] = field(default_factory=list)
    running: Counter[Query] = field(default_factory=Counter)  # how often each was seen while it ran

    def grown(self, name: str, begin: float, end: float) -> float:
        """By how much a counter grew for each second."""
        seen = self._seen(begin, end)
        if len(seen) < 2:
            return nan
        return float(getattr(seen[-1], name) - getattr(seen[0], name)) / (seen[-1].time - seen[0].time)

    def ping_ms(self, begin: float, end: float, name: str = "ping_ms") -> float:
        """The lower quartile of the pings: distance adds to each of them, a busy machine only to some."""
        pings = sorted(getattr(each, name) for each in self._seen(begin, end))
        return pings[len(pings) // 4] if pings else nan

    def slowest(self) -> Query | None:
        """The operation that was seen most often while it ran: the most of the time in MongoDB is its."""
        return self.running.most_common(1)[0][0] if self.running else None

    def _seen(self, begin: float, end: float) -> list[Counters]:
        return [each for each in self.counters if begin <= each.time <= end]


def address(uri: str | None, ports: Sequence[int]) -> str | None:
    """The address at which to ask: `uri`, or that of the MongoDB behind one of the local `ports`; None without one."""
    if uri is not None:
        return uri
    for port in ports:
        found = mongod.uri_of(port) or f"mongodb://127.0.0.1:{port}/?directConnection=true"
        with suppress(PyMongoError), _client(found) as client:
            client.admin.command("ping")
            return found
    return None


def direct_port(at: str) -> int | None:
    """The local port on which the MongoDB at this address listens itself, which may be another: a proxy's is ours."""
    with suppress(PyMongoError, KeyError, ValueError), _client(at) as client:
        host, _, port = str(client.admin.command("hello")["me"]).rpartition(":")
        if host in ("127.0.0.1", "localhost"):
            return int(port)
    return None


@contextmanager
def watching(
    at: str | None, direct: int | None, database: str | None, callers: Sequence[int]
) -> Iterator[MongodbWatch]:
    """Ask the MongoDB at `at` again and again while the block runs, on connections of our own.

    `direct` is the port on which it listens itself. Operations on `database` are the service's (on all if None), and
    so are those from the local ports `callers`, or from anybody if none is known there.
    """
    seen = MongodbWatch()
    if at is None:
        yield seen
        return

    def keep_asking(ended: threading.Event) -> None:
        while not ended.wait(PROBE_SECONDS):
            with suppress(PyMongoError, KeyError):  # it is away, or not ours to ask: without answers there is no proof
                seen.counters.append(_counters(pinger.ms(), direct_pinger.ms(), near, database))
                seen.running.update(_running(near, callers))

    with (
        _client(at) as client,
        _client(at, direct) as near,
        Pinger(client) as pinger,
        Pinger(near) as direct_pinger,
        meanwhile(keep_asking),
    ):
        yield seen


def _client(at: str, direct: int | None = None) -> Client:
    """A client of the MongoDB at this address, or of one on the local port `direct` with the same login."""
    if direct is None:
        return Client(at, **OPTIONS)
    parsed = parse_uri(at)
    login = {name: parsed[name] for name in ("username", "password") if parsed[name]}
    options = {name: value for name, value in parsed["options"].items() if name.startswith(("auth", "tls"))}
    return Client("127.0.0.1", direct, directConnection=True, **login, **options, **OPTIONS)


class Pinger:
    """Pings a MongoDB on a connection of its own, without a driver: its work, 1 ms in Python, would count as distance.

    One that does not answer so, because it speaks TLS only, is pinged by the driver after all.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        with suppress(OSError, PyMongoError):  # it is away, perhaps not for long
            address = self._client.address
            self._socket = socket.create_connection(address, TIMEOUT_MS / 1000) if address else None
            self.ms()  # the first one on a connection takes longer
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def ms(self) -> float:
        """How long a ping takes, in ms. Raises `PyMongoError`."""
        began = time.perf_counter()
        if self._socket is not None:
            try:
                self._socket.sendall(PING)
                self._receive()
            except OSError:
                self._socket.close()
                self._socket = None
                return self.ms()
        else:
            self._client.admin.command("ping")
        return (time.perf_counter() - began) * 1000

    def _receive(self) -> None:
        """Read one message, which begins with its length."""
        assert self._socket is not None
        received = b""
        while len(received) < 4 or len(received) < int.from_bytes(received[:4], "little"):
            more = self._socket.recv(4096)
            if not more:
                raise ConnectionError
            received += more


def _counters(ping: float, direct: float, near: Client, database: str | None) -> Counters:
    wanted = {"metrics": 1, "wiredTiger": 1}
    status = near.admin.command({"serverStatus": 1} | dict.fromkeys(_SECTIONS_LEFT_OUT, 0) | wanted)
    inside = operations = others = 0.0
    for namespace, each in near.admin.command("top")["totals"].items():
        if not isinstance(each, dict):
            continue
        name = namespace.partition(".")[0]
        kinds = [each[kind] for kind in ("queries", "insert", "update", "remove", "commands")]
        spent = sum(kind["time"] for kind in kinds) / 1e6
        if name == database or (database is None and name not in NOT_OURS):
            inside, operations = inside + spent, operations + sum(kind["count"] for kind in kinds)
        elif name not in NOT_OURS:
            others += spent
    executor, document = status["metrics"]["queryExecutor"], status["metrics"]["document"]
    log = status.get("wiredTiger", {}).get("log", {})
    return Counters(
        clock.now(),
        inside,
        operations,
        others,
        float(executor["scannedObjects"]),
        float(document["returned"]),
        float(log.get("log sync operations", nan)),
        float(log.get("log sync time duration (usecs)", nan)) / 1e6,
        ping,
        direct,
    )


# Parts of serverStatus that are not wanted, and take long.
_SECTIONS_LEFT_OUT = (
    "asserts", "batchedDeletes", "catalogStats", "connections", "defaultRWConcern", "electionMetrics",
    "extra_info", "featureCompatibilityVersion", "flowControl", "freeMonitoring", "globalLock", "indexBuilds",
    "indexBulkBuilder", "indexStats", "locks", "logicalSessionRecordCache", "mirroredReads", "network", "opLatencies",
    "opcounters", "opcountersRepl", "oplogTruncation", "readConcernCounters", "repl", "scramCache", "security",
    "shardSplits", "storageEngine", "tcmalloc", "tenantMigrations", "transactions", "transportSecurity",
    "twoPhaseCommitCoordinator", "watchdog",
)  # fmt: skip


def _running(near: Client, callers: Sequence[int]) -> list[Query]:
    """The operations of the service that run now."""
    active = {"active": True, "appName": {"$ne": NAME}, "ns": {"$exists": True}}
    found = list(near.admin.aggregate([{"$currentOp": {"allUsers": True}}, {"$match": active}]))
    own = [each for each in found if int(str(each.get("client", ":0")).rpartition(":")[2] or 0) in callers]
    return [
        _query(each)
        for each in own or found
        if each["ns"].partition(".")[0] not in NOT_OURS and each.get("op") != "getmore" and "command" in each
    ]


def _query(running: dict[str, Any]) -> Query:
    command = running["command"]
    kind = next(iter(command), running.get("op", "?"))
    filters = command.get("filter") or command.get("query") or command.get("q") or {}
    sort = ", ".join(command.get("sort", {}) or {})
    fields = ", ".join(name for name in filters if not name.startswith("$")) + (f" sorted by {sort}" if sort else "")
    return Query(str(kind), str(running["ns"]), str(running.get("planSummary", "")), fields.strip())
