"""What speaks for a verdict: a table to read and to argue with. Nothing else decides.

A row names a verdict, what has to be true for it (`needs`), what is expected besides (`expects`), what rules it out
(`unless`), and which other verdicts it explains: those are its consequences where both hold. A test whose signal was
not seen is neither true nor false.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Literal

from profiles.diagnosis.evidence import Evidence

RATE_LIMIT = "rate limit"
LOAD_GENERATOR = "load generator"
MACHINE_FULL = "machine full"
QUERIES = "database queries"
DISK = "database disk"
DATABASE_CPU = "database CPU"
NETWORK = "network"
POOL = "connection pool"
SERVER_CPU = "server CPU"
LOOP_BLOCKED = "event loop blocked"
SLOTS = "lock or slots in the server"
HEALTHY = "healthy at this load"
UNKNOWN = "unknown"
VERDICTS = (
    SERVER_CPU, LOOP_BLOCKED, SLOTS, DATABASE_CPU, DISK, QUERIES, POOL, NETWORK, LOAD_GENERATOR, MACHINE_FULL,
    RATE_LIMIT, HEALTHY, UNKNOWN,
)  # fmt: skip


@dataclass(frozen=True)
class Test:
    """Whether a signal is at least, or below, a limit; and what it says if so."""

    signal: str
    is_: Literal["at least", "below"]
    limit: float
    says: str

    def __call__(self, seen: Evidence) -> bool | None:
        value = seen[self.signal]
        if isnan(value):
            return None
        return bool(
            value >= self.limit if self.is_ == "at least" else value < self.limit
        )  # numpy has a bool of its own


def at_least(signal: str, limit: float, says: str) -> Test:
    return Test(signal, "at least", limit, says)


def below(signal: str, limit: float, says: str) -> Test:
    return Test(signal, "below", limit, says)


@dataclass(frozen=True)
class Rule:
    """One row: see the module. `next` says what to do about it."""

    verdict: str
    needs: tuple[Test, ...]
    expects: tuple[Test, ...]
    unless: tuple[Test, ...] = ()
    explains: frozenset[str] = frozenset()
    next: str = ""


@dataclass(frozen=True)
class Finding:
    """What the evidence says about one rule.

    holds: True, False, or None if something that it needs was not seen. `tests` are all its tests with their outcomes.
    """

    rule: Rule
    holds: bool | None
    tests: Mapping[Test, bool | None] = field(repr=False)

    @property
    def confidence(self) -> float:
        """The share of what is expected that is so, of what was seen; the needs count as well."""
        wanted = [self.tests[test] for test in (*self.rule.needs, *self.rule.expects)]
        seen = [each for each in wanted if each is not None]
        return sum(seen) / len(seen) if seen else 0.0


IDLE = below("server_cpu", 0.75, "the server's processor has time to spare")
MONGOD_IDLE = below("mongod_cpu", 0.75, "MongoDB's processor has time to spare")
MONGOD_GETS_CPU = below("mongod_delayed", 0.25, "MongoDB gets the processor when it wants it")
SERVER_GETS_CPU = below("server_delayed", 0.25, "the server gets the processor when it wants it")
MONGODB_QUICK = below("operation_ms", 5.0, "an operation takes MongoDB little, by its own clock")
IN_MONGODB = at_least("mongodb_share", 0.4, "much of a request's time is spent in MongoDB, by its own clock")
NOT_IN_MONGODB = below("mongodb_share", 0.4, "little of a request's time is spent in MongoDB")
LOOP_FREE = below("loop_ms", 8.0, "the server's loop is free")
PROFILE_IT = "profile it (python -m profiles record), and make the first function cheaper; or add workers (--workers)"
FULL = at_least("machine_busy", 0.93, "all cores are at work")
NOT_FULL = below("machine_busy", 0.93, "there is a core with time to spare")
KEEPERS = "who shares its cores (taskset -p), its priority (ps -o ni), its cgroup (cpu.max), who stops it (cpulimit)"
GIVE_INDEX = "look at the plan of this operation (explain), and give it an index"
NOTHING_REFUSED = below("refused_share", 0.05, "next to nothing is refused")

RULES: tuple[Rule, ...] = (
    Rule(
        RATE_LIMIT,
        needs=(at_least("refused_share", 0.05, "the service refuses requests (429)"),),
        expects=(IDLE, MONGOD_IDLE, NOT_IN_MONGODB),
        explains=frozenset({QUERIES, DATABASE_CPU, DISK, POOL, SLOTS, NETWORK}),
        next="let callers wait as Retry-After says, or raise the limit if the service can take more",
    ),
    Rule(
        LOAD_GENERATOR,
        needs=(at_least("generator_limited", 1.0, "Locust was at its limit, or did not get the processor"),),
        expects=(
            below("machine_busy", 0.95, "the machine was not full"),
            at_least("way_back_share", 0.15, "answers lie unread before Locust"),
            IDLE,
            MONGOD_IDLE,
        ),
        unless=(below("generator_share", 0.2, "hardly any request waits to be sent, or answer to be read"),),
        explains=frozenset({POOL}),
        next="share the users out among more processes (--processes), or use prepared requests (fast users)",
    ),
    Rule(
        LOAD_GENERATOR,
        needs=(
            at_least("generator_share", 0.5, "most of its time a request waits to be sent, or its answer to be read"),
            at_least("generator_late", 0.05, "timers in Locust are late"),
        ),
        expects=(NOT_FULL, IDLE, MONGOD_IDLE),
        explains=frozenset({POOL}),
        next="give Locust a core of its own, or share the users out among more processes (--processes)",
    ),
    Rule(
        MACHINE_FULL,
        needs=(
            FULL,
            at_least("others_busy", 0.25, "and programs that have no part in the run are among them"),
        ),
        expects=(
            at_least("server_delayed", 0.1, "the server is ready to work and has no processor"),
            at_least("generator_late", 0.05, "so is Locust"),
            below("server_cpu", 0.85, "the server does not get a core"),
        ),
        explains=frozenset(
            {LOAD_GENERATOR, SERVER_CPU, LOOP_BLOCKED, DATABASE_CPU, QUERIES, POOL, SLOTS, NETWORK, DISK}
        ),
        next="stop what else runs here, or measure on another machine",
    ),
    Rule(
        MACHINE_FULL,
        needs=(
            FULL,
            at_least("others_inside", 0.5, "and MongoDB works for other databases"),
            below("mongodb_share", 0.4, "which takes the processor from everybody, more than it delays our operations"),
        ),
        expects=(
            at_least("server_delayed", 0.1, "the server is ready to work and has no processor"),
            at_least("mongod_delayed", 0.1, "so is MongoDB"),
        ),
        explains=frozenset({LOAD_GENERATOR, SERVER_CPU, LOOP_BLOCKED, POOL, SLOTS, NETWORK}),
        next="see for whom MongoDB works (currentOp), and give them a MongoDB of their own",
    ),
    Rule(
        DISK,
        needs=(
            at_least("syncing", 0.5, "the journal is being written to the disk most of the time"),
            at_least("sync_ms", 4.0, "and one such write takes long"),
            at_least("database_share", 0.4, "requests wait for MongoDB"),
        ),
        expects=(MONGOD_IDLE, MONGOD_GETS_CPU, IDLE, below("examined", 20.0, "MongoDB looks at few documents")),
        explains=frozenset({QUERIES, POOL, DATABASE_CPU, SLOTS, NETWORK}),
        next="commit several writes together (--writes grouped), or give MongoDB a faster disk",
    ),
    Rule(
        DATABASE_CPU,
        needs=(
            IN_MONGODB,
            at_least("mongod_pressed", 0.85, "MongoDB uses the processor that it can, or is kept from it"),
        ),
        expects=(
            IDLE,
            below("examined", 20.0, "it looks at few documents for each that it returns"),
            at_least("operation_ms", 1.0, "an operation takes long in MongoDB"),
        ),
        unless=(at_least("examined", 50.0, "it looks at many documents for each that it returns"),),
        explains=frozenset({POOL, QUERIES, SLOTS}),
        next="give MongoDB more cores, or ask it less: a cache (--cache tail), fewer reads for each request",
    ),
    Rule(
        DATABASE_CPU,
        needs=(
            at_least("mongod_delayed", 0.4, "MongoDB is kept from the processor: others have it, or it is stopped"),
            at_least("database_share", 0.3, "requests wait for MongoDB"),
            NOT_FULL,
        ),
        expects=(
            MONGOD_IDLE,
            IDLE,
            at_least("unread_by_mongodb", 0.1, "operations lie unread before it"),
        ),
        explains=frozenset({POOL, QUERIES, SLOTS, NETWORK, LOOP_BLOCKED}),
        next=f"find what keeps MongoDB: {KEEPERS}",
    ),
    Rule(
        QUERIES,
        needs=(
            IN_MONGODB,
            at_least(
                "query_cost", 1.0, "it looks at many documents for each that it returns, or an operation takes long"
            ),
        ),
        expects=(
            at_least("operation_ms", 5.0, "an operation takes long in MongoDB"),
            IDLE,
            below("distance_ms", 1.0, "MongoDB is near"),
        ),
        explains=frozenset({POOL, SLOTS}),
        next=GIVE_INDEX,
    ),
    Rule(
        QUERIES,
        needs=(
            at_least("network_share", 0.3, "requests wait for MongoDB"),
            at_least(
                "held_ms",
                4.0,
                "an operation takes long, neither on the way, nor at work by MongoDB's clock, nor at its disk",
            ),
            below("ping_share", 0.3, "a ping is quick: MongoDB holds the operations of the service"),
        ),
        expects=(IDLE, LOOP_FREE, MONGOD_IDLE, MONGOD_GETS_CPU),
        unless=(at_least("server_cpu", 0.85, "the server is too busy to read the answers"),),
        explains=frozenset({POOL, SLOTS}),
        next="see what MongoDB waits for (currentOp: locks, tickets), and its log",
    ),
    Rule(
        NETWORK,
        needs=(
            at_least("network_share", 0.3, "requests wait for MongoDB, and MongoDB works little for them"),
            at_least("ping_ms", 2.0, "a ping takes long"),
            at_least("ping_share", 0.4, "about as long as an operation"),
        ),
        expects=(
            at_least("distance_ms", 1.0, "a ping straight to MongoDB takes less"),
            MONGODB_QUICK,
            IDLE,
            MONGOD_IDLE,
        ),
        unless=(
            at_least("mongod_delayed", 0.5, "MongoDB does not get the processor"),
            at_least("machine_busy", 0.95, "all cores are at work, and a ping waits for one"),
        ),
        explains=frozenset({POOL, SLOTS}),
        next="bring service and MongoDB nearer, or go there less often: a cache, fewer operations for each request",
    ),
    Rule(
        POOL,
        needs=(
            at_least("pool_share", 0.4, "requests wait for a free connection, or for a thread that has one"),
            at_least("queue_ratio", 2.0, "and longer than they then use it"),
        ),
        expects=(
            NOT_IN_MONGODB,
            IDLE,
            LOOP_FREE,
            below("connections", 2.0, "few connections are in use"),
            at_least("pool_ms", 1.0, "an operation waits for a connection"),
        ),
        unless=(at_least("server_pressed", 0.85, "the server wants the processor nearly all of the time"),),
        next="give the driver more connections (maxPoolSize in the URI), or make each use shorter",
    ),
    Rule(
        SERVER_CPU,
        needs=(at_least("server_cpu", 0.8, "the server uses all the processor that it can"),),
        expects=(
            SERVER_GETS_CPU,
            at_least("own_share", 0.4, "requests wait unread, or for the server's own code"),
            NOT_IN_MONGODB,
        ),
        explains=frozenset({LOOP_BLOCKED, SLOTS, POOL}),
        next=PROFILE_IT,
    ),
    Rule(
        SERVER_CPU,
        needs=(
            at_least("own_share", 0.4, "requests wait unread, or for the server's own code"),
            at_least("server_cpu", 0.65, "the server works most of the time"),
            at_least("server_pressed", 0.8, "and wants the processor nearly all of the time"),
        ),
        expects=(at_least("server_cpu", 0.8, "it uses all the processor that it can"), NOT_IN_MONGODB),
        unless=(at_least("others_busy", 0.25, "other programs take the processor from everybody"),),
        explains=frozenset({LOOP_BLOCKED, SLOTS, POOL}),
        next=PROFILE_IT,
    ),
    Rule(
        SERVER_CPU,
        needs=(
            at_least("server_delayed", 0.4, "the server is kept from the processor: others have it, or it is stopped"),
            at_least("own_share", 0.4, "requests wait unread, or for the server's own code"),
            NOT_FULL,
        ),
        expects=(below("server_cpu", 0.8, "it does not work all of the time"), NOT_IN_MONGODB),
        explains=frozenset({LOOP_BLOCKED, SLOTS, POOL}),
        next=f"find what keeps the server: {KEEPERS}",
    ),
    Rule(
        LOOP_BLOCKED,
        needs=(
            at_least("loop_ms", 8.0, "timers are late, or requests lie unread in the kernel"),
            IDLE,
            SERVER_GETS_CPU,
        ),
        expects=(
            at_least("unread_share", 0.2, "requests lie unread before the server"),
            NOT_IN_MONGODB,
            at_least("own_share", 0.4, "requests wait unread, or for the server's own code"),
        ),
        unless=(
            at_least("others_busy", 0.25, "other programs take the processor from everybody"),
            at_least("server_threads", 4.0, "many threads share the work: there is no loop that could be blocked"),
        ),
        explains=frozenset({POOL, SLOTS}),
        next="find the call that waits without await (py-spy dump, or python -X dev), and move it to a thread",
    ),
    Rule(
        SLOTS,
        needs=(
            at_least("application_share", 0.5, "requests spend their time in the server, beside MongoDB"),
            at_least("mean_ms", 5.0, "and that is long"),
            IDLE,
            LOOP_FREE,
        ),
        expects=(NOT_IN_MONGODB, SERVER_GETS_CPU, NOTHING_REFUSED),
        next="find what requests wait for in turns: a lock, a semaphore, a pool of threads",
    ),
)
