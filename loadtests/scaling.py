"""Measure what limits many workers on one database: `python -m loadtests.scaling` prints docs/scaling.md's numbers.

The driver alone asks one mongod, so that the service's own work is not in them: how often the counter document can be
updated, how many commits there are in a second, and what it costs to follow, here and in MongoDB.
"""

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
import psutil
from pymongo import AsyncMongoClient, ReturnDocument, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection

from harness import machine, watch
from harness.mongod import REPLICA_SET, MongodError
from harness.options import from_environment
from harness.processes import ProgramError
from harness.replica_set import ReplicaSetError, start_replica_set
from harness.throwaway import mongod_running
from loadtests import service

Document = dict[str, Any]
DATABASE = "scaling"
IN_MEMORY, DURABLE = WriteConcern(w=1), WriteConcern(w="majority", j=True)  # as the service stores numbers and messages
BATCH = 100  # messages in a commit, where it is not one
AT_ONCE = 16
STREAMS = 4
WORKERS = (2, 4, 8, 16)  # for which the model is worked out


class Measured(NamedTuple):
    """What was measured: rates per second, and processor time in µs for each message or event."""

    updates: float  # of the counter, by one caller
    updates_at_once: float
    commits: float  # of one message, by one writer
    commits_at_once: float
    large: float  # of BATCH messages, by one writer
    large_at_once: float
    storing: float  # MongoDB's time
    event: float  # MongoDB's time
    event_here: float

    def rows(self) -> list[tuple[str, str]]:
        """What is measured, and how much it is."""
        return [
            ("counter updates, one caller", f"{self.updates:,.0f}/s"),
            (f"counter updates, {AT_ONCE} callers", f"{self.updates_at_once:,.0f}/s"),
            ("commits of 1 message, one writer", f"{self.commits:,.0f}/s"),
            (f"commits of 1 message, {AT_ONCE} writers", f"{self.commits_at_once:,.0f}/s"),
            (f"commits of {BATCH} messages, one writer", f"{self.large:,.0f}/s"),
            (f"commits of {BATCH} messages, {AT_ONCE} writers", f"{self.large_at_once:,.0f}/s"),
            ("MongoDB's time to store a message", f"{self.storing:,.0f} µs"),
            ("MongoDB's time for each event of a stream", f"{self.event:,.0f} µs"),
            ("a worker's time for each event", f"{self.event_here:,.0f} µs"),
        ]

    def limits(self) -> list[tuple[str, str, str]]:
        """Where each becomes the limit: what, by which model, and the messages per second that follow."""
        found = [
            (
                f"the counter, {BATCH} messages in a commit",
                "updates × messages in a commit",
                self.updates_at_once * BATCH,
            ),
            ("a worker's core, half of it for following", "0.5 s ÷ its time for an event", 5e5 / self.event_here),
        ]
        for workers in WORKERS:
            followed = self.storing + workers * self.event
            model = "1 s ÷ (time to store + workers × time for an event)"
            found.append((f"a core of MongoDB's primary, {workers} workers", model, 1e6 / followed))
        return [(what, model, f"{limit:,.0f}/s") for what, model, limit in found]


class Bench(NamedTuple):
    """One mongod, its counter and its messages; how many seconds, and with how many messages, is measured."""

    mongod: psutil.Process
    uri: str
    counters: AsyncCollection[Document]
    messages: AsyncCollection[Document]
    seconds: float
    number: int
    numbers: Iterator[int]  # `seq` of the messages that are stored


async def take_number(bench: Bench, count: int = 1) -> None:
    """Update the counter as a commit does: by a pipeline, with MongoDB's time."""
    change = {"seq": {"$add": [{"$ifNull": ["$seq", 0]}, count]}, "at": {"$max": ["$at", "$$NOW"]}}
    await bench.counters.find_one_and_update(
        {"_id": "messages"}, [{"$set": change}], upsert=True, return_document=ReturnDocument.AFTER
    )


async def commit(bench: Bench, size: int) -> None:
    """Take numbers and store so many messages durably."""
    await take_number(bench, size)
    await store(bench, size)


async def store(bench: Bench, size: int) -> None:
    """Store so many messages durably."""
    now = datetime.now(UTC)
    message = {"text": "x" * 100, "author": "mia", "source": "api", "worker": "a", "created_at": now}
    numbered = [message | {"seq": seq} for seq in itertools.islice(bench.numbers, size)]
    await bench.messages.insert_many(numbered, ordered=False)


async def rate(bench: Bench, callers: int, once: Callable[[Bench], Awaitable[None]]) -> float:
    """How often `callers` at once do something in a second."""
    until = time.perf_counter() + bench.seconds
    done = itertools.count()

    async def repeat() -> None:
        while time.perf_counter() < until:
            await once(bench)
            next(done)

    began = time.perf_counter()
    await asyncio.gather(*(repeat() for _ in range(callers)))
    return next(done) / (time.perf_counter() - began)


async def cost_of_storing(bench: Bench, streams: int) -> tuple[float, float]:
    """The processor time, here and in MongoDB, of storing messages that `streams` follow; µs for each message."""
    async with following(bench, streams) as events:
        here, there = time.process_time(), watch.cpu_seconds(bench.mongod)
        for _ in range(bench.number // BATCH):
            await store(bench, BATCH)
        await events
        spent = time.process_time() - here, watch.cpu_seconds(bench.mongod) - there
    return spent[0] / bench.number * 1e6, spent[1] / bench.number * 1e6


@asynccontextmanager
async def following(bench: Bench, streams: int) -> AsyncIterator[Awaitable[Any]]:
    """Open change streams; gives what is done when each has had all messages."""
    clients = [AsyncMongoClient[Document](bench.uri, tz_aware=True) for _ in range(streams)]
    cursors = [
        await client[DATABASE].messages.watch([{"$match": {"operationType": "insert"}}], max_await_time_ms=500)
        for client in clients
    ]

    async def read(cursor: Any) -> None:
        left = bench.number
        while left:
            left -= await cursor.try_next() is not None

    try:
        yield asyncio.gather(*map(read, cursors))
    finally:
        for client in clients:
            await client.close()


async def measure(bench: Bench) -> Measured:
    """Measure all of it."""
    await commit(bench, 1)  # makes what there is to be updated
    rates = [
        await rate(bench, callers, once)
        for once in (take_number, lambda bench: commit(bench, 1), lambda bench: commit(bench, BATCH))
        for callers in (1, AT_ONCE)
    ]
    alone, followed = await cost_of_storing(bench, 0), await cost_of_storing(bench, STREAMS)
    here, there = ((with_streams - without) / STREAMS for with_streams, without in zip(followed, alone, strict=True))
    return Measured._make([*rates, alone[1], there, here])


async def measure_on(mongod: psutil.Process, uri: str, seconds: float, number: int) -> Measured:
    """Measure on a mongod that is a primary."""
    async with AsyncMongoClient[Document](uri) as client:
        counters = client[DATABASE].get_collection("counters", write_concern=IN_MEMORY)
        messages = client[DATABASE].get_collection("messages", write_concern=DURABLE)
        return await measure(Bench(mongod, uri, counters, messages, seconds, number, itertools.count(1)))


@click.command()
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1), help="For each of the rates.")
@click.option(
    "--messages", default=20_000, show_default=True, type=click.IntRange(BATCH), help="For each of the times."
)
def command(seconds: float, messages: int) -> None:
    """Measure, on a MongoDB of its own, what limits many workers; prints tables in Markdown."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="backend-lab-") as folder,
            mongod_running(Path(folder), program=from_environment().mongod) as (port, process),
        ):
            start_replica_set(f"127.0.0.1:{port}", REPLICA_SET)
            uri = f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"
            service.migrate(uri, DATABASE)  # its indexes are a part of the price
            measured = asyncio.run(measure_on(process, uri, seconds, messages // BATCH * BATCH))
    except (MongodError, ReplicaSetError, ProgramError) as error:
        raise click.ClickException(str(error)) from error
    about = machine.describe()
    click.echo(f"{about['cores']} cores of {about['processor']}, commit {(machine.commit() or 'unknown')[:7]}\n")
    click.echo("| what | measured |\n| --- | ---: |")
    for row in measured.rows():
        click.echo(f"| {' | '.join(row)} |")
    click.echo("\n| limit | model | messages |\n| --- | --- | ---: |")
    for limit in measured.limits():
        click.echo(f"| {' | '.join(limit)} |")


if __name__ == "__main__":
    command(prog_name="python -m loadtests.scaling")
