"""The order of messages: a follower sees every acknowledged message once, whoever writes and whoever dies."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from client import ClientError, MessageClient
from harness.servers import Server
from migrations.runner import Database
from server.messages import Message, Position
from server.store import Store
from server.timeline import GAP_SECONDS, Timeline
from tests.conftest import StartServer
from tests.server.clock import Clock
from tests.server.writing import add
from tests.waiting import eventually

WORKERS = 4
WRITERS_EACH = 4
MESSAGES = 4000
DOOMED_WRITERS = 8


class Follower:
    """Reads a list, then follows it, noting the id and number of every message it is given."""

    def __init__(self, server: Server, limit: int) -> None:
        self._url = f"{server.url}/messages"
        self._session = requests.Session()
        self._limit = limit
        self.ids: list[str] = []
        self.numbers: list[int] = []

    def follow(self, written: Callable[[], bool]) -> None:
        """Follow until everything is `written`, and what was written is read."""
        page = self._get(limit=1000)
        self._note(page["messages"][::-1])
        while True:
            nothing_will_come = written()
            cursor = page["newest"]
            page = self._get(after=cursor, limit=self._limit)
            self._note(page["messages"])
            if nothing_will_come and page["newest"] == cursor:
                self._session.close()
                return

    def _get(self, **params: object) -> dict[str, Any]:
        return dict(self._session.get(self._url, params=params).json())

    def _note(self, messages: list[dict[str, Any]]) -> None:
        self.ids += [message["id"] for message in messages]
        self.numbers += [message["seq"] for message in messages]


def write(server: Server, count: int) -> list[str]:
    """Send `count` messages, checking that each is in the next list; returns the ids of the acknowledged."""
    acknowledged = []
    with MessageClient(server.url) as client:
        for number in range(count):
            message = client.send(f"number {number}")
            acknowledged.append(message.id)
            if number % 10 == 0:
                assert max(each.seq for each in client.recent(5)) >= message.seq  # it reads its own writes
    return acknowledged


def write_until_the_end(server: Server) -> list[str]:
    acknowledged = []
    with MessageClient(server.url, retries=0) as client:
        while True:
            try:
                acknowledged.append(client.send("while I can").id)
            except ClientError:
                return acknowledged


@pytest.mark.timeout(300)
def test_followers_see_all_messages_of_four_workers_once_though_one_more_is_killed(
    start_server: StartServer, migrated: Database
) -> None:
    workers = [start_server(cache=cache) for cache in ("off", "ttl") * (WORKERS // 2)]
    doomed = start_server()
    followers = [Follower(workers[0], limit=1000), Follower(workers[1], limit=7)]
    with ThreadPoolExecutor(64) as threads:
        each = MESSAGES // (WORKERS * WRITERS_EACH)
        writing = [threads.submit(write, worker, each) for worker in workers for _ in range(WRITERS_EACH)]
        dying = [threads.submit(write_until_the_end, doomed) for _ in range(DOOMED_WRITERS)]
        following = [
            threads.submit(follower.follow, lambda: all(job.done() for job in [*writing, *dying]))
            for follower in followers
        ]
        eventually(lambda: migrated.messages.estimated_document_count() > MESSAGES // 10, seconds=120)
        doomed.process.kill()
        acknowledged = {id for job in [*writing, *dying] for id in job.result()}
        for job in following:
            job.result()
    assert len(acknowledged) > MESSAGES
    for follower in followers:
        assert acknowledged <= set(follower.ids)
        assert len(follower.ids) == len(set(follower.ids))
        assert follower.numbers == sorted(follower.numbers)


def test_fifty_posts_of_one_key_at_once_leave_one_message(start_server: StartServer, migrated: Database) -> None:
    servers = [start_server(), start_server()]

    def post(number: int) -> requests.Response:
        headers = {"Idempotency-Key": "one"}
        return requests.post(f"{servers[number % 2].url}/messages", json={"text": "once"}, headers=headers)

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(post, range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 49
    assert migrated.messages.count_documents({"text": {"$exists": True}}) == 1


# What a timeline does about numbers that are missing, one step at a time.


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timeline(store: Store, clock: Clock) -> Timeline:
    return Timeline(store, clock)


def stored(db: Database, *numbers: int) -> None:
    """Store messages under these numbers, as writers do whose neighbours are slow."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    db.messages.insert_many(
        {"text": f"number {number}", "seq": number, "created_at": now + timedelta(seconds=number)} for number in numbers
    )
    db.counters.update_one({"_id": "messages"}, {"$max": {"seq": max(numbers)}}, upsert=True)


def numbers(messages: list[Message]) -> list[int | None]:
    return [message.seq for message in messages]


@pytest.mark.asyncio
async def test_nothing_is_shown_above_a_missing_number(timeline: Timeline, migrated: Database) -> None:
    stored(migrated, 1, 2, 4, 5)
    page = await timeline.recent(10)
    assert (numbers(page.messages), page.up_to) == ([2, 1], 2)
    stored(migrated, 3)
    page = await timeline.recent(10)
    assert (numbers(page.messages), page.up_to) == ([5, 4, 3, 2, 1], 5)


@pytest.mark.asyncio
async def test_a_short_page_is_filled_from_below_what_is_not_shown(timeline: Timeline, migrated: Database) -> None:
    stored(migrated, 1, 2, 3, 4, 6, 7)
    page = await timeline.recent(2)
    assert (numbers(page.messages), page.up_to, page.next) == ([4, 3], 4, Position(before=3))


@pytest.mark.asyncio
async def test_a_number_that_stays_missing_is_made_void(timeline: Timeline, clock: Clock, migrated: Database) -> None:
    stored(migrated, 1, 4)
    assert numbers((await timeline.recent(10)).messages) == [1]
    clock.time = GAP_SECONDS
    page = await timeline.recent(10)
    assert (numbers(page.messages), page.up_to) == ([4, 1], 4)
    assert [each["seq"] for each in migrated.messages.find({"void": True}, sort=[("seq", 1)])] == [2, 3]
    after = await timeline.after(0, 10)
    assert (numbers(after.messages), after.up_to) == ([1, 4], 4)


@pytest.mark.asyncio
async def test_a_writer_whose_number_was_made_void_takes_another(store: Store, migrated: Database) -> None:
    await store.make_void([1, 2])
    message, replayed = await add(store, "late")
    assert (message.seq, replayed) == (3, False)
    assert migrated.messages.count_documents({"text": "late"}) == 1


@pytest.mark.asyncio
async def test_a_message_that_takes_its_place_in_time_is_not_made_void(store: Store, migrated: Database) -> None:
    stored(migrated, 1, 3)
    await store.make_void([1, 2, 3])
    assert migrated.messages.count_documents({"seq": {"$in": [1, 3]}, "void": None}) == 2
    assert migrated.messages.count_documents({"seq": 2, "void": True}) == 1


@pytest.mark.asyncio
async def test_who_has_seen_a_number_waits_for_what_is_missing_below_it(store: Store, migrated: Database) -> None:
    timeline = Timeline(store)
    stored(migrated, 1, 3)
    waiting = asyncio.create_task(timeline.recent(10, seen=3))
    while not timeline.complete:  # noqa: ASYNC110  it has no event to wait for
        await asyncio.sleep(0)
    stored(migrated, 2)
    assert numbers((await waiting).messages) == [3, 2, 1]


@pytest.mark.asyncio
async def test_a_page_claims_no_more_than_its_own_query_could_see(store: Store, migrated: Database) -> None:
    class Slow:
        """The store, but what it found is given out late."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def before(self, position: Position, limit: int) -> Any:
            found = await store.before(position, limit)
            asked.set()
            await answer.wait()
            return found

    asked, answer = asyncio.Event(), asyncio.Event()
    timeline = Timeline(Slow())
    stored(migrated, 1)
    reading = asyncio.create_task(timeline.recent(10))
    await asked.wait()
    stored(migrated, 2)
    await timeline.catch_up()  # somebody else reads meanwhile
    answer.set()
    page = await reading
    assert (numbers(page.messages), page.up_to) == ([1], 1)
    assert timeline.complete == 2


@pytest.mark.asyncio
async def test_a_new_process_begins_where_others_were_complete(store: Store, migrated: Database) -> None:
    stored(migrated, *range(1, 51))
    await add(store, known_complete=50)
    timeline = Timeline(store)
    await timeline.start()
    assert timeline.complete == 50
    await timeline.catch_up()
    assert timeline.complete == 51


@pytest.mark.asyncio
async def test_times_never_fall_as_numbers_grow(store: Store, migrated: Database) -> None:
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)  # another primary's clock was ahead
    migrated.counters.insert_one({"_id": "messages", "seq": 0, "at": ahead, "complete": 0})
    first, _ = await add(store)
    second, _ = await add(store)
    assert first.created_at == second.created_at == ahead


# Every query of the service has an index, with many messages there.


@pytest.mark.asyncio
async def test_no_query_of_the_service_scans_a_hundred_thousand_messages(store: Store, migrated: Database) -> None:
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    for first in range(1, 100_001, 10_000):
        migrated.messages.insert_many(
            {
                "text": "x",
                "seq": seq,
                "created_at": begin + timedelta(seconds=seq),
                "dedupe": f"key:{seq}",
                "fingerprint": "",
            }
            for seq in range(first, first + 10_000)
        )
    migrated.counters.insert_one({"_id": "messages", "seq": 100_000, "at": begin, "complete": 0})
    parent = migrated.messages.find_one({"seq": 50_000})["_id"]
    migrated.messages.update_many({"seq": {"$gt": 99_000}}, {"$set": {"reply_to": parent}})
    migrated.command("profile", 2)
    service_reads = [
        store.before(Position(), 21),
        store.before(Position(before=50_000), 21),
        store.before(Position(before=90_000, floor=80_000), 21),
        store.before(Position(before_id=str(parent)), 21),
        store.after(50_000, 20),
        store.numbers_after(99_900, 1000),
        store.replies(str(parent), 0, 100_000, 101),
        store.first_since(begin + timedelta(seconds=70_000)),
        store.get(str(parent)),
        store.known_complete(),
        add(store),
    ]
    for read in service_reads:
        await read
    migrated.command("profile", 0)
    profiled = list(migrated["system.profile"].find({"planSummary": {"$exists": True}}))
    assert len(profiled) >= len(service_reads)
    for query in profiled:
        assert "COLLSCAN" not in query["planSummary"], query
        assert not query.get("hasSortStage"), query
        assert query["docsExamined"] <= 1001, query
        assert query["keysExamined"] <= 1101, query
