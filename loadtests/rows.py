"""The rows of `make bench`, as data: which two servers are compared, under which load, and the goal for the ratio."""

from dataclasses import dataclass

from loadtests.bench_loads import (
    BELOW_QUOTA,
    GREEDY,
    QUOTA,
    WELL_BEHAVED,
    WRITE_LIMIT,
    LoadFunction,
    a_million_requests,
    client_reads,
    differing_reads,
    fast_http_users,
    fast_users,
    fast_users_on_schedule,
    first_requests,
    keyed_writes,
    one_writer,
    reads,
    reads_beside_writes,
    well_behaved_alone,
    well_behaved_beside_greedy,
    writes,
    writes_above_the_limit,
    writes_below_the_limit,
)
from loadtests.bench_servers import Peer, Server, Service


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a server, and the load it gets."""

    name: str
    server: Server
    load: LoadFunction


@dataclass(frozen=True)
class Goal:
    """`metric` of the second side ÷ that of the first, or ÷ `against`, is at least, or at most, `bound`."""

    what: str
    metric: str
    unit: str
    bound: float
    at_most: bool = False
    against: float | None = None

    def holds(self, ratio: float) -> bool:
        return ratio <= self.bound if self.at_most else ratio >= self.bound

    def __str__(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.bound:g}"


@dataclass(frozen=True)
class Row:
    """Two sides that are compared in interleaved rounds; if `once`, in one long round without a warm-up.

    Each load lasts `times` as long as in other rows: a p99 of 3 s is a dozen requests, too few to be stable.
    """

    name: str
    base: Side
    ours: Side
    goals: tuple[Goal, ...]
    once: bool = False
    times: int = 1


SERVICE = Service()
LIMITED = Service({"write_limit": f"{WRITE_LIMIT}/second"})
WITH_QUOTAS = Service({"client_limit": f"{QUOTA}/second", "api_keys": f"well-behaved:{WELL_BEHAVED},greedy:{GREEDY}"})


def _faster(name: str, what: str, bound: float, load: LoadFunction, peer: str) -> Row:
    """A row whose goal is that the service answers at least `bound` times as many requests/s as `peer`."""
    sides = Side(peer, Peer(peer), load), Side("service", SERVICE, load)
    return Row(name, *sides, (Goal(what, "requests_per_s", "/s", bound),))


def _generator(name: str, what: str, load: LoadFunction) -> Row:
    """A row in which our users are to send 4 times what Locust's FastHttpUser sends, from one core."""
    server = Peer("protocol_constant")
    sides = Side("FastHttpUser", server, fast_http_users), Side("ours", server, load)
    return Row(name, *sides, (Goal(what, "requests_per_s", "/s", 4.0),))


ROWS = (
    _faster("tornado", "cached GET of 20 ÷ bare Tornado, same bytes", 2.0, reads, "tornado_constant"),
    _faster("constant", "cached GET of 20 ÷ FastAPI, same bytes", 1.3, reads, "fastapi_constant"),
    _faster("tornado-heads", "the same, heads all different ÷ bare Tornado", 2.0, differing_reads, "tornado_constant"),
    _faster("constant-heads", "the same ÷ FastAPI", 1.3, differing_reads, "fastapi_constant"),
    _faster("starlette", "the same ÷ Starlette on uvicorn", 1.4, differing_reads, "starlette_constant"),
    _faster("granian", "the same ÷ Granian (RSGI)", 0.9, differing_reads, "granian_constant"),
    _faster("parser", "the same ÷ httptools on uvloop", 0.45, differing_reads, "httptools_constant"),
    _faster("parser-equal", "cached GET of 20 ÷ httptools on uvloop", 0.5, reads, "httptools_constant"),
    _faster("cached", "heads all different ÷ FastAPI with the same cache", 1.3, differing_reads, "fastapi_cached"),
    Row(
        "client",
        Side("equal heads", SERVICE, reads),
        Side("client's heads", SERVICE, client_reads),
        (Goal("GET of 20, heads of MessageClient ÷ equal heads", "requests_per_s", "/s", 0.9),),
    ),
    Row(
        "heads",
        Side("equal heads", SERVICE, reads),
        Side("differing heads", SERVICE, differing_reads),
        (Goal("GET of 20, heads all different ÷ equal heads", "requests_per_s", "/s", 0.5),),
    ),
    _faster("fastapi", "cached GET of 20 ÷ FastAPI from MongoDB", 12, reads, "fastapi_mongodb"),
    _faster("flask", "cached GET of 20 ÷ Flask from SQLite", 8, reads, "flask_sqlite"),
    _faster("fastapi-post", "POST, 64 connections ÷ FastAPI on MongoDB", 3, writes, "fastapi_mongodb"),
    _faster("keyed-post", "the same, a key with each ÷ FastAPI on MongoDB", 7, keyed_writes, "fastapi_mongodb"),
    _faster("flask-post", "POST, 64 connections ÷ Flask on SQLite", 8, writes, "flask_sqlite"),
    Row(
        "latency",
        Side("single", Service({"writes": "single"}), one_writer),
        Side("grouped", Service(), one_writer),
        (Goal("POST latency, 1 connection ÷ --writes single", "p50_ms", " ms", 1.15, at_most=True),),
    ),
    Row(
        "uvloop",
        Side("asyncio", Service({"event_loop": "asyncio"}), reads),
        Side("uvloop", SERVICE, reads),
        (Goal("cached GET of 20 with uvloop ÷ with asyncio", "requests_per_s", "/s", 1.0),),
    ),
    Row(
        "beside-writes",
        Side("reads alone", SERVICE, reads),
        Side("beside writes", SERVICE, reads_beside_writes),
        (Goal("GET of 20 beside 500 writes/s ÷ alone", "requests_per_s", "/s", 0.75),),
    ),
    Row(
        "limit",
        Side("at 80 %", LIMITED, writes_below_the_limit),
        Side("at 5 times", LIMITED, writes_above_the_limit),
        (
            Goal("writes admitted at 5 × the limit ÷ the limit", "admitted_per_s", "/s", 0.95, against=WRITE_LIMIT),
            Goal("their p99 ÷ p99 at 80 % of the limit", "p99_ms", " ms", 2.0, at_most=True),
        ),
        times=3,
    ),
    Row(
        "callers",
        Side("alone", WITH_QUOTAS, well_behaved_alone),
        Side("beside greedy", WITH_QUOTAS, well_behaved_beside_greedy),
        (Goal(f"caller at {BELOW_QUOTA}/s of {QUOTA}/s, beside one at 50 × ÷ alone", "admitted_per_s", "/s", 0.9),),
    ),
    _generator("generator", "our Locust users, with their log ÷ FastHttpUser", fast_users),
    _generator("generator-rate", "the same on a schedule ÷ FastHttpUser", fast_users_on_schedule),
    Row(
        "memory",
        Side("10,000", SERVICE, first_requests),
        Side("1,000,000", SERVICE, a_million_requests),
        (Goal("memory after 1,000,000 requests ÷ after 10,000", "rss_mib", " MiB", 1.1, at_most=True),),
        once=True,
    ),
)
