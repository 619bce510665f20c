"""Faults that really are there, to show and to test the diagnosis: each is a service, a load, and what is right to say.

They run on the lab's own service, on a MongoDB of their own, and everything ends with them.
"""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient

from harness import processes, throwaway
from harness.mongod import REPLICA_SET
from harness.options import from_environment
from harness.processes import ProgramError
from harness.replica_set import start_replica_set
from harness.threads import meanwhile
from loadtests import service
from loadtests.lab_scenarios import prepare
from loadtests.run import Load
from profiles.diagnosis import rules

Client = MongoClient[dict[str, Any]]
DATABASE = "diagnosis"
# The service without what would hide its database from reads.
PLAIN: Mapping[str, Any] = {"cache": "off", "writes": "single"}
MESSAGES = 40
START_SECONDS = 20.0
STOP_SECONDS = 0.04
LOW_PRIORITY = 8  # a nice value: a sixth of what others get
OPERATIONS = ["find", "insert", "findAndModify", "aggregate", "update"]


@dataclass(frozen=True)
class Situation:
    """A service to be diagnosed: how it is started, its settings, the load, and whose data it uses.

    `straight` is the address of its MongoDB if the service goes there on another way.
    """

    load: Load
    settings: Mapping[str, Any] = field(default_factory=dict)
    straight: str | None = None

    def running(self, **changes: Any) -> AbstractContextManager[Any]:
        """The service, while the block runs, with some settings changed."""
        return service.running(**{**self.settings, **changes})


@dataclass(frozen=True)
class Fault:
    """A fault: what it is, the verdicts that are right, and a context manager that gives the situation with it."""

    what: str
    right: frozenset[str]
    inject: Callable[[Path], AbstractContextManager[Situation]]


def _fault(verdict: str, what: str, inject: Callable[[Path], Iterator[Situation]]) -> Fault:
    """The fault that the generator function `inject` makes, and for which `verdict` is right."""
    return Fault(what, frozenset({verdict}), contextmanager(inject))


CLOSED = Load("mixed", users=16, seconds=5.0, warmup=1.0, fast=True)
READS = Load("reads", users=16, seconds=5.0, warmup=1.0, fast=True)
WRITES = Load("writes", users=16, seconds=5.0, warmup=1.0, fast=True)


@contextmanager
def _mongodb(folder: Path, *options: str, **how: Any) -> Iterator[tuple[str, psutil.Process]]:
    """A MongoDB with some messages; gives its address and its process."""
    with throwaway.mongod_running(folder, *options, program=from_environment().mongod, **how) as (port, process):
        start_replica_set(f"127.0.0.1:{port}", REPLICA_SET)
        uri = f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"
        service.migrate(uri, DATABASE)
        with service.running(mongodb_uri=uri, database=DATABASE) as server:
            prepare(server.url, MESSAGES)
        yield uri, process


def _settings(uri: str, **settings: Any) -> dict[str, Any]:
    return {"mongodb_uri": uri, "database": DATABASE, **settings}


def _nothing(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder) as (uri, _):
        yield Situation(Load("mixed", users=32, seconds=5.0, warmup=1.0, rate=60.0, fast=True), _settings(uri))


def _missing_index(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder) as (uri, _):
        with Client(uri) as client:
            messages = client[DATABASE].messages
            newest = messages.find_one(sort=[("seq", -1)]) or {}
            copies = [{**newest, "_id": None, "seq": -number} for number in range(1, 40_001)]
            for each in copies:
                del each["_id"]
                each.pop("dedupe", None)
            messages.insert_many(copies)
            for index in messages.list_indexes():
                if "seq" in index["key"]:
                    messages.drop_index(index["name"])
        yield Situation(READS, _settings(uri, **PLAIN))


def _failpoint(uri: str, milliseconds: int) -> None:
    """Let every operation of the service take `milliseconds` longer in MongoDB."""
    straight = uri.replace(f"replicaSet={REPLICA_SET}", "directConnection=true")
    with Client(straight) as client:
        client.admin.command(
            {
                "configureFailPoint": "failCommand",
                "mode": "alwaysOn",
                "data": {
                    "failCommands": OPERATIONS,
                    "appName": "backend-lab",
                    "blockConnection": True,
                    "blockTimeMS": milliseconds,
                },
            }
        )


def _slow_mongodb(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder, *throwaway.FAILPOINTS) as (uri, _):
        _failpoint(uri, 40)
        yield Situation(READS, _settings(uri, **PLAIN))


def _mongod_without_cpu(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder) as (uri, mongod), burning(folder, 1, cores="0"):
        for thread in mongod.threads():
            os.sched_setaffinity(thread.id, {0})
            os.setpriority(os.PRIO_PROCESS, thread.id, LOW_PRIORITY)
        with suppress(OSError):  # where Linux shares the processor out among sessions first, a session has a priority
            Path(f"/proc/{mongod.pid}/autogroup").write_text(str(LOW_PRIORITY))
        yield Situation(READS, _settings(uri, **PLAIN))


def _stopped_mongod(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder) as (uri, mongod), meanwhile(partial(_stop_in_turns, mongod)):
        yield Situation(READS, _settings(uri, **PLAIN))


def _stop_in_turns(process: psutil.Process, ended: threading.Event) -> None:
    with suppress(psutil.NoSuchProcess):
        while not ended.is_set():
            process.suspend()
            ended.wait(STOP_SECONDS)
            process.resume()
            ended.wait(STOP_SECONDS)


def _slow_disk(folder: Path) -> Iterator[Situation]:
    strace = shutil.which("strace")
    if strace is None:
        raise ProgramError("the fault slow-disk needs strace, which is not installed: apt-get install strace")
    calls = "fdatasync,fsync"
    prefix = (strace, "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", f"trace={calls}")
    with _mongodb(folder, prefix=(*prefix, "-e", f"inject={calls}:delay_enter=20000")) as (uri, _):
        yield Situation(WRITES, _settings(uri, **PLAIN))


def _pool_of_one(driver: str) -> Callable[[Path], Iterator[Situation]]:
    def inject(folder: Path) -> Iterator[Situation]:
        with _mongodb(folder, *throwaway.FAILPOINTS) as (uri, _):
            _failpoint(uri, 3)
            yield Situation(READS, _settings(f"{uri}&maxPoolSize=1", driver=driver, **PLAIN))

    return inject


def _in_the_service(*flags: str, load: Load = CLOSED, **settings: Any) -> Callable[[Path], Iterator[Situation]]:
    """A fault in the service itself: see `loadtests.faulty_server`."""

    def inject(folder: Path) -> Iterator[Situation]:
        with _mongodb(folder) as (uri, _):
            yield Situation(load, _settings(uri, program=("loadtests.faulty_server", *flags), **settings))

    return inject


def _many_callers(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder) as (uri, _):
        yield Situation(replace(CLOSED, users=256), _settings(uri, **service.BASELINE))


def _slow_network(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder) as (uri, _):
        port = uri.partition("127.0.0.1:")[2].partition("/")[0]
        with _program(folder, "profiles.diagnosis.delay", port, "15") as delayed:
            slow = f"mongodb://127.0.0.1:{delayed}/?directConnection=true"
            yield Situation(
                READS, _settings(slow, **PLAIN), straight=f"mongodb://127.0.0.1:{port}/?directConnection=true"
            )


def _write_limit(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder) as (uri, _):
        load = Load("writes", users=32, seconds=5.0, warmup=1.0, rate=150.0, fast=True)
        yield Situation(load, _settings(uri, write_limit="50/second"))


def _starved_generator(folder: Path) -> Iterator[Situation]:
    """This process and what it starts from now on, Locust, share one core with programs that work all the time."""
    with _mongodb(folder) as (uri, _), burning(folder, 2, cores="0"):
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {0})
        try:
            yield Situation(Load("reads", users=32, seconds=5.0, warmup=1.0, rate=600.0), _settings(uri))
        finally:
            os.sched_setaffinity(0, own)


def _full_machine(folder: Path) -> Iterator[Situation]:
    with _mongodb(folder) as (uri, _), burning(folder, 3 * (os.cpu_count() or 1)):
        yield Situation(CLOSED, _settings(uri))


FAULTS: Mapping[str, Fault] = {
    "none": _fault(rules.HEALTHY, "nothing is wrong, and the load is below the capacity", _nothing),
    "missing-index": _fault(rules.QUERIES, "40,000 messages, and the index on seq is gone", _missing_index),
    "slow-mongodb": _fault(rules.QUERIES, "each operation takes 40 ms longer in MongoDB (a failpoint)", _slow_mongodb),
    "mongod-cpu": _fault(
        rules.DATABASE_CPU, "mongod shares a core with a program that has priority", _mongod_without_cpu
    ),
    "mongod-stopped": _fault(
        rules.DATABASE_CPU, "mongod is stopped half of the time (SIGSTOP, in turns of 40 ms)", _stopped_mongod
    ),
    "slow-disk": _fault(rules.DISK, "each write to the disk takes 20 ms longer (strace)", _slow_disk),
    "pool-motor": _fault(
        rules.POOL, "one connection for all, with Motor; an operation takes 3 ms", _pool_of_one("motor")
    ),
    "pool-pymongo": _fault(rules.POOL, "the same with PyMongo's own driver", _pool_of_one("pymongo")),
    "cpu": _fault(
        rules.SERVER_CPU, "each request burns 5 ms of processor time in the handler", _in_the_service("--burn", "5000")
    ),
    "blocking": _fault(
        rules.LOOP_BLOCKED, "each request blocks the event loop for 20 ms", _in_the_service("--block", "20000")
    ),
    "json": _fault(
        rules.SERVER_CPU,
        "answers are turned into JSON 200 times",
        _in_the_service("--json", "200", load=READS, cache="off"),
    ),
    "turns": _fault(
        rules.SLOTS,
        "requests take turns of 5 ms: a lock that all handlers want",
        _in_the_service("--turn", "5000", load=READS, cache="off"),
    ),
    "callers": _fault(
        rules.SERVER_CPU,
        "256 callers in a closed loop, on the service without what makes it fast",
        _many_callers,
    ),
    "network": _fault(rules.NETWORK, "MongoDB is 15 ms away, each way", _slow_network),
    "write-limit": _fault(rules.RATE_LIMIT, "50 writes/s are let in, and 150/s are offered", _write_limit),
    "starved-generator": _fault(
        rules.LOAD_GENERATOR, "Locust shares a core with two programs that work", _starved_generator
    ),
    "full-machine": _fault(rules.MACHINE_FULL, "three programs for each core work beside it", _full_machine),
}


@contextmanager
def situation(name: str) -> Iterator[Situation]:
    """The situation with the fault `name`, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="backend-lab-") as folder, FAULTS[name].inject(Path(folder)) as found:
        yield found


@contextmanager
def burning(folder: Path, number: int, cores: str = "") -> Iterator[None]:
    """So many programs that work all the time, on these cores."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(_program(folder, "profiles.diagnosis.burner", *([cores] if cores else [])))
        yield


@contextmanager
def _program(folder: Path, module: str, *arguments: str) -> Iterator[str]:
    """A module of ours as a program, while the block runs; gives the first line that it prints."""
    command: Sequence[str] = [sys.executable, "-m", module, *arguments]
    started = processes.start(command, folder / f"{module}.log", pipes=True)
    try:
        assert started.process.stdout is not None
        yield processes.first_line(started.process.stdout, START_SECONDS)
    finally:
        processes.stop(started)
