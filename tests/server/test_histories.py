"""Clients that read and write at once, on three workers: no stale read, no lost write, every own write read.

A checker that finds nothing proves nothing until it has found something: so bugs are planted, too.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import requests

from migrations.runner import Database
from practice.histories import Read, Wrote, violations
from server import tasks
from server.messages import Entry, Message, MessageService, NewMessage, Page, Write
from server.recent import FRESH_SECONDS, TailCache
from server.store import Store
from server.timeline import Timeline
from server.writer import GroupCommit
from tests.conftest import StartServer

WORKERS = 3
CLIENTS = 6
SECONDS = 2.5  # longer than anything may be stale
LIMIT = 10


def stored(db: Database) -> dict[str, int]:
    return {each["text"]: each["seq"] for each in db.messages.find({"void": None})}


def kinds(writes: Iterable[Wrote], reads: Iterable[Read], stored: Collection[str]) -> set[str]:
    return {each.kind for each in violations(writes, reads, stored, fresh_seconds=FRESH_SECONDS)}


def with_the_unacknowledged(writes: Iterable[Wrote], stored: dict[str, int]) -> list[Wrote]:
    return [*(Wrote(text, number=number) for text, number in stored.items()), *writes]


# The checker itself, on histories written by hand.

STORED = [Wrote("a", number=1), Wrote("b", number=2), Wrote("d", number=4)]


@pytest.mark.parametrize(
    ("wrote", "read", "found"),
    [
        pytest.param([], Read(0, 3, ("d", "b", "a")), set(), id="all is well"),
        pytest.param([], Read(0, 2, ("d", "b")), set(), id="a limit is no hole"),
        pytest.param([], Read(0, 3, ("b", "a")), set(), id="a little behind"),
        pytest.param([Wrote("c", 0, 0, 3)], Read(0, 1, ()), {"lost"}, id="lost"),
        pytest.param([], Read(0, 1, ("e",)), {"phantom"}, id="phantom"),
        pytest.param([], Read(0, 3, ("d", "a")), {"hole"}, id="hole"),
        pytest.param([], Read(0, 3, ("b", "d", "a")), {"disorder"}, id="disorder"),
        pytest.param([], Read(0, 4, ("d", "b", "b", "a")), {"double"}, id="double"),
        pytest.param([], Read(0, 3, ("b", "a"), seen=4), {"own write"}, id="own write"),
        pytest.param([Wrote("d", 0, 1, 4)], Read(2.5, 3, ("b", "a")), {"stale"}, id="stale"),
        pytest.param([Wrote("d", 0, 1, 4)], Read(1.5, 3, ("b", "a")), set(), id="not stale yet"),
    ],
)
def test_the_checker_knows_what_is_wrong(wrote: list[Wrote], read: Read, found: set[str]) -> None:
    assert kinds([*STORED, *wrote], [read], {"a", "b", "d"}) == found


# The service.


@pytest.mark.parametrize("cache", ["off", "ttl", "tail"])
def test_clients_of_three_workers_see_what_they_were_promised(
    start_server: StartServer, migrated: Database, cache: str
) -> None:
    servers = [start_server(cache=cache) for _ in range(WORKERS)]
    writes: list[Wrote] = []
    reads: list[Read] = []
    ends = time.monotonic() + SECONDS

    def talk(number: int) -> None:
        dice = random.Random(number)
        seen = 0
        with requests.Session() as session:
            while time.monotonic() < ends:
                url = f"{dice.choice(servers).url}/messages"
                token = {"Lab-Seen": str(seen)}
                if dice.random() < 0.4:
                    begin = time.monotonic()
                    answer = session.post(url, json={"text": f"{number} {begin}"})
                    writes.append(Wrote(answer.json()["text"], begin, time.monotonic(), answer.json()["seq"]))
                else:
                    begin = time.monotonic()
                    answer = session.get(url, params={"limit": LIMIT}, headers=token)
                    shown = tuple(each["text"] for each in answer.json()["messages"])
                    reads.append(Read(begin, LIMIT, shown, seen))
                seen = max(seen, int(answer.headers["Lab-Seen"]))

    with ThreadPoolExecutor(CLIENTS) as threads:
        for done in [threads.submit(talk, number) for number in range(CLIENTS)]:
            done.result()
    assert len(writes) > CLIENTS
    assert len(reads) > CLIENTS
    in_the_end = stored(migrated)
    assert kinds(with_the_unacknowledged(writes, in_the_end), reads, in_the_end) == set()


# Planted bugs: the same parts in this process, one of them broken.


class Untold(TailCache):
    """Skipped invalidation: keeps the pages that were made before a message arrived."""

    def cached(self, limit: int, seen: int = 0) -> Page | None:
        before = dict(self._pages)
        page = super().cached(limit, seen)
        self._pages |= before
        return before.get(limit, page)

    def _take_early(self) -> None:
        before = dict(self._pages)
        super()._take_early()
        self._pages = before


class LateFill(TailCache):
    """A fill that is installed late: it claims what became complete only after its query."""

    async def _fill_and_check(self) -> None:
        timeline = self._timeline

        class Claims:
            async def recent(self, limit: int, seen: int = 0) -> Page:
                page = await timeline.recent(limit, seen)
                if limit == LIMIT:
                    return page  # a reader's own query
                await asyncio.sleep(0.2)
                await timeline.catch_up()
                return Page(page.messages, page.next, timeline.complete)

            def __getattr__(self, name: str) -> Any:
                return getattr(timeline, name)

        claims: Any = Claims()
        self._timeline = claims
        await super()._fill_and_check()


class DroppedEvent(TailCache):
    """Loses every tenth message that arrives, and goes on as if it had been void."""

    def arrived(self, entry: Entry) -> None:
        if entry.seq is not None and entry.seq % 10 == 0 and self.filled.is_set():
            self._complete = max(self._complete, entry.seq)
        else:
            super().arrived(entry)


class TokenIgnored(TailCache):
    """Answers from memory whatever the reader has seen."""

    async def recent(self, limit: int, seen: int = 0) -> Page:
        return self.cached(limit) or await super().recent(limit, seen)


class NeverDoubts(TailCache):
    """Serves what it has although the stream is silent and nothing was confirmed."""

    def arrived(self, entry: Entry) -> None:
        if not self.filled.is_set():
            super().arrived(entry)

    async def recent(self, limit: int, seen: int = 0) -> Page:
        return self.cached(limit) or await super().recent(limit, seen)

    async def _check(self) -> None:
        self._confirmed_at = self._clock()


class GapIgnored(TailCache):
    """Shows what arrives early at once, before what is missing below it."""

    def _take_early(self) -> None:
        for seq in sorted(self._early):
            self._complete = seq - 1
            super()._take_early()


class Forgets(GroupCommit):
    """Acknowledges every fifth message without having stored it."""

    count = 0

    async def add(self, write: Write, known_complete: int) -> tuple[Message, bool]:
        message, replayed = await super().add(write, known_complete)
        self.count += 1
        if self.count % 5 == 0:
            store: Any = self._messages
            await store._messages.update_one({"seq": message.seq}, {"$set": {"void": True}})
        return message, replayed


@asynccontextmanager
async def services(
    mongodb_uri: str,
    database: str,
    cache: Callable[[Store, Timeline], TailCache] = TailCache,
    writer: Callable[[Store], GroupCommit] = GroupCommit,
) -> AsyncIterator[list[MessageService]]:
    """Three services as three processes would have them, all in this one."""
    async with AsyncExitStack() as stack:
        built = []
        for _ in range(WORKERS):
            store = Store(mongodb_uri, database)
            stack.push_async_callback(store.close)
            timeline = Timeline(store)
            await timeline.start()
            tail = cache(store, timeline)
            stack.push_async_callback(tasks.end, asyncio.create_task(tail.run()))
            built.append(MessageService(store, timeline, tail, writer(store)))
        yield built


async def talk(services: list[MessageService], number: int, writes: list[Wrote], reads: list[Read]) -> None:
    dice = random.Random(number)
    ends = time.monotonic() + SECONDS
    seen = 0
    while time.monotonic() < ends:
        service = dice.choice(services)
        if dice.random() < 0.4:
            begin = time.monotonic()
            message, _ = await service.post(NewMessage(text=f"{number} {begin}"))
            writes.append(Wrote(message.text, begin, time.monotonic(), message.seq))
            seen = max(seen, message.seq or 0)
        else:
            begin = time.monotonic()
            page = await service.recent(LIMIT, seen)
            shown = tuple(each.text for each in page.messages)
            reads.append(Read(begin, LIMIT, shown, seen))
            seen = max(seen, page.up_to)
        await asyncio.sleep(0.001)


# What each breaks for certain, and what may come of it besides, by chance.
BUGS: dict[str, tuple[dict[str, Any], set[str], set[str]]] = {
    "none": ({}, set(), set()),
    "skipped invalidation": ({"cache": Untold}, {"own write"}, {"stale"}),
    "fill installed late": ({"cache": LateFill}, {"hole"}, {"own write", "stale"}),
    "dropped change-stream event": ({"cache": DroppedEvent}, {"hole"}, {"own write", "stale"}),
    "token ignored": ({"cache": TokenIgnored}, {"own write"}, set()),
    "silent stream trusted": ({"cache": NeverDoubts}, {"stale"}, {"own write"}),
    "gap ignored": ({"cache": GapIgnored}, {"hole"}, {"own write", "stale"}),
    "acknowledged, not stored": ({"writer": Forgets}, {"lost"}, {"phantom", "hole"}),
}


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.asyncio
async def test_the_checker_finds_what_is_planted_and_nothing_that_does_not_come_of_it(
    mongodb_uri: str, migrated: Database, bug: str
) -> None:
    parts, certain, possible = BUGS[bug]
    writes: list[Wrote] = []
    reads: list[Read] = []
    async with services(mongodb_uri, migrated.name, **parts) as built:
        await asyncio.gather(*(talk(built, number, writes, reads) for number in range(CLIENTS)))
    in_the_end = stored(migrated)
    found = kinds(with_the_unacknowledged(writes, in_the_end), reads, in_the_end)
    assert certain <= found <= certain | possible
