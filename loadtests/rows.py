"""The rows of `make bench`, as data: what is compared with what, how both are loaded, and the goal.

A side of a row is a server and a load. Both sides' servers run all the time, and one at a time is loaded.
"""

import asyncio
import functools
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pymongo import MongoClient
from tqdm import tqdm

from harness import watch
from harness.servers import direct_session
from loadtests import open_loop, peers, service, wrk

MESSAGES = 1000  # in each database before anything is measured
# Named although they are the defaults: a LAB_ variable of the caller must not change what a row compares.
BEST: dict[str, Any] = {
    "cache": "tail",
    "writes": "grouped",
    "write_limit": "off",
    "client_limit": "off",
    "max_waiting": 1000,
    "fast_path": "on",
    "event_loop": "uvloop",
    "driver": "motor",
    "workers": 1,
}
WRITE_LIMIT = 500
QUOTA, BELOW_QUOTA = 100, 90
WELL_BEHAVED, GREEDY = "key-of-the-well-behaved", "key-of-the-greedy"
CREATED, TOO_MANY, SHEDDING = 201, 429, 503


@dataclass(frozen=True)
class Place:
    """Where the servers of a run find their MongoDB, and put their files and logs."""

    mongodb_uri: str
    data: Path
    logs: Path

    @functools.cached_property
    def body(self) -> Path:
        """A file with what the service answers when it is asked for its 20 newest messages."""
        path = self.data / "body.json"
        with Service().running(self) as url:
            path.write_bytes(direct_session().get(f"{url}/messages", params={"limit": 20}, timeout=30).content)
        return path

    def log(self, name: str) -> Path:
        """A new file for what a server says."""
        return self.logs / f"{name}-{secrets.token_hex(2)}.log"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of a new database while the block runs."""
        name = f"bench_{secrets.token_hex(4)}"
        try:
            yield name
        finally:
            with MongoClient[dict[str, Any]](self.mongodb_uri) as client:
                client.drop_database(name)


class Server(Protocol):
    """Something that answers GET and POST of /messages, with MESSAGES messages in it."""

    def running(self, place: Place) -> Any:
        """A context manager: runs it, and gives its address."""


@dataclass(frozen=True, eq=False)
class Service:
    """The message service, with BEST settings but for those given."""

    settings: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def running(self, place: Place) -> Iterator[str]:
        settings = BEST | self.settings
        with place.database() as database:
            home = {"mongodb_uri": place.mongodb_uri, "database": database}
            service.migrate(**home)
            # Filled by a server without limits and keys.
            with service.running(place.log("filling"), **home, **BEST) as plain:
                _fill(plain.url)
            with service.running(place.log("service"), **home, **settings) as server:
                yield server.url


@dataclass(frozen=True, eq=False)
class Peer:
    """One of the peers."""

    name: str

    @contextmanager
    def running(self, place: Place) -> Iterator[str]:
        with place.database() as database:
            environment = {
                "MONGODB_URL": place.mongodb_uri,
                "MONGODB_DATABASE": database,
                "DATABASE": str(place.data / f"{database}.sqlite"),
            }
            if self.name.endswith("constant"):
                environment["BODY"] = str(place.body)
            with peers.running(self.name, place.log(self.name), environment) as url:
                if not self.name.endswith("constant"):
                    _fill(url)
                yield url


def _fill(url: str) -> None:
    def send(number: int) -> None:
        text = f"Message {number}, here before the measuring began: lunch at the usual place, or at the new one?"
        session.post(f"{url}/messages", json={"text": text, "author": "bench"}, timeout=30).raise_for_status()

    with direct_session() as session, ThreadPoolExecutor(8) as callers:
        list(callers.map(send, range(1, MESSAGES + 1)))


# Loads.


@dataclass(frozen=True)
class Sample:
    """What one load of one side measured, by name, and why it does not count (empty if it does).

    `late` tells that the generator could not keep up: that says nothing about the row, and can be repeated.
    """

    values: dict[str, float]
    void: str = ""
    late: str = ""


Load = Callable[[str, float], Sample]


def reads(url: str, seconds: float) -> Sample:
    """64 connections that read the 20 newest messages."""
    return _of_wrk(wrk.run(f"{url}/messages?limit=20", seconds))


def writes(url: str, seconds: float, connections: int = 64) -> Sample:
    """Connections that send messages."""
    return _of_wrk(wrk.run(f"{url}/messages", seconds, connections, sends="post"))


def one_writer(url: str, seconds: float) -> Sample:
    """One connection that sends messages."""
    return writes(url, seconds, connections=1)


def reads_beside_writes(url: str, seconds: float) -> Sample:
    """`reads`, while others send 500 messages a second. The sending begins first, and ends last."""
    url_of_writes = f"{url}/messages"

    async def both() -> tuple[Sample, open_loop.Offered]:
        writing = asyncio.create_task(open_loop.offer(url_of_writes, open_loop.post(url_of_writes), 500, seconds + 1))
        await asyncio.sleep(1.0)
        return await asyncio.to_thread(reads, url, seconds), await writing

    read, written = open_loop.run(both())
    return Sample(
        read.values | {"written_per_s": written.per_s(CREATED), "write_p99_ms": written.p99_ms(CREATED)},
        read.void or written.void(CREATED),
        written.late(),
    )


def writes_below_the_limit(url: str, seconds: float) -> Sample:
    """Messages at 80 % of the write limit."""
    return _of_writers(url, 0.8 * WRITE_LIMIT, seconds, CREATED)


def writes_above_the_limit(url: str, seconds: float) -> Sample:
    """Messages at 5 times the write limit. To be refused is the point."""
    return _of_writers(url, 5.0 * WRITE_LIMIT, seconds, CREATED, TOO_MANY, SHEDDING)


def well_behaved_alone(url: str, seconds: float) -> Sample:
    """A caller a little below its quota."""
    return open_loop.run(_callers(url, seconds, greedy=False))


def well_behaved_beside_greedy(url: str, seconds: float) -> Sample:
    """The same caller beside one that offers 50 times its own quota."""
    return open_loop.run(_callers(url, seconds, greedy=True))


def first_requests(url: str, seconds: float) -> Sample:
    """Resident memory after 10,000 requests, 3 reads to a write. Takes as long as it takes."""
    return _memory_after(url, 10_000)


def a_million_requests(url: str, seconds: float) -> Sample:
    """Resident memory after 990,000 more."""
    return _memory_after(url, 990_000)


def _of_wrk(measured: wrk.Measured) -> Sample:
    return Sample({name: float(value) for name, value in asdict(measured).items()}, measured.void)


def _of_writers(url: str, rate: float, seconds: float, *expected: int) -> Sample:
    address = f"{url}/messages"
    offered = open_loop.run(open_loop.offer(address, open_loop.post(address), rate, seconds))
    return Sample(_of_caller(offered), offered.void(*expected), offered.late())


def _of_caller(offered: open_loop.Offered) -> dict[str, float]:
    return {
        "offered_per_s": len(offered.requests) / offered.seconds,
        "admitted_per_s": offered.per_s(CREATED),
        "refused_per_s": offered.per_s(TOO_MANY),
        "p99_ms": offered.p99_ms(CREATED),
    }


async def _callers(url: str, seconds: float, greedy: bool) -> Sample:
    address = f"{url}/messages"
    offers = [open_loop.offer(address, open_loop.post(address, WELL_BEHAVED), BELOW_QUOTA, seconds)]
    if greedy:
        offers.append(open_loop.offer(address, open_loop.post(address, GREEDY), 50 * QUOTA, seconds))
    behaved, *others = await asyncio.gather(*offers)
    # Beside the greedy caller whatever happens to the other is the result, so long as the generator kept up.
    void = "" if greedy else behaved.void(CREATED)
    beside = {f"greedy_{name}": value for each in others for name, value in _of_caller(each).items()}
    late = next(filter(None, (each.late() for each in (behaved, *others))), "")
    return Sample(_of_caller(behaved) | beside, void, late)


def _memory_after(url: str, requests: int) -> Sample:
    processes = watch.behind(url).roles["server"]
    answered, void = 0, ""
    with tqdm(total=requests, desc="requests", unit="", unit_scale=True, leave=False, disable=None) as bar:
        while answered < requests and not void:
            measured = wrk.run(f"{url}/messages?limit=20", 1 if requests < 100_000 else 5, sends="mixed")
            answered, void = answered + measured.requests, measured.void
            bar.update(measured.requests)
    resident = sum(process.memory_info().rss for process in processes) / 2**20
    return Sample({"requests": float(answered), "rss_mib": resident}, void)


# Rows.


@dataclass(frozen=True)
class Side:
    """A server and what it is loaded with."""

    name: str
    server: Server
    load: Load


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
    """Two sides, compared in rounds; or in one long round without a warm-up, if `once`.

    Each load takes `times` as long as others: in three seconds the slowest hundredth is a dozen requests, which is
    one hiccup of the machine.
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


def _faster(name: str, what: str, bound: float, load: Load, peer: str) -> Row:
    """A row in which the service is to answer `bound` times as much as a peer."""
    sides = Side(peer, Peer(peer), load), Side("service", SERVICE, load)
    return Row(name, *sides, (Goal(what, "requests_per_s", "/s", bound),))


ROWS = (
    _faster("tornado", "cached GET of 20 ÷ bare Tornado, same bytes", 2.0, reads, "tornado_constant"),
    _faster("constant", "cached GET of 20 ÷ FastAPI, same bytes", 1.3, reads, "fastapi_constant"),
    _faster("fastapi", "cached GET of 20 ÷ FastAPI from MongoDB", 12, reads, "fastapi_mongodb"),
    _faster("flask", "cached GET of 20 ÷ Flask from SQLite", 8, reads, "flask_sqlite"),
    _faster("fastapi-post", "POST, 64 connections ÷ FastAPI on MongoDB", 3, writes, "fastapi_mongodb"),
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
        (Goal("GET of 20 beside 500 writes/s ÷ alone", "requests_per_s", "/s", 0.6),),
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
    Row(
        "memory",
        Side("10,000", SERVICE, first_requests),
        Side("1,000,000", SERVICE, a_million_requests),
        (Goal("memory after 1,000,000 requests ÷ after 10,000", "rss_mib", " MiB", 1.1, at_most=True),),
        once=True,
    ),
)
