"""Lists since a time before, while and after migration 0005 numbers old messages: right, and without a scan."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId

from migrations import runner, throttle
from migrations.runner import Database, Options
from server.api import cursors
from server.messages import Message, MessageService, Page
from server.store import Store
from server.timeline import Timeline
from server.writer import Single
from tests.server.conftest import Queries
from tests.server.writing import add

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OLD = 3000
FEW = 200  # keys, of several thousand
Prepare = Callable[[Database, pytest.MonkeyPatch], None]


def old_messages(count: int = OLD) -> list[dict[str, Any]]:
    """Messages without a number, one a minute; every tenth has its time only in its id."""
    documents = []
    for number in range(count):
        time = BEGIN + number * MINUTE
        document: dict[str, Any] = {"_id": ObjectId.from_datetime(time), "text": f"old {number}"}
        documents.append(document if number % 10 == 0 else document | {"created_at": time})
    return documents


def before(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data model is the one before the numbering."""
    runner.up(db, "0004")


def interrupted(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbering has begun, and gave numbers to a third of the messages."""
    for name in ("MIN_SIZE", "FIRST_SIZE", "MAX_SIZE"):
        monkeypatch.setattr(throttle, name, OLD // 3)

    def stop(step: str, done: int, total: int) -> None:
        if step == "0005_seq" and done:
            raise KeyboardInterrupt

    runner.up(db, "0004")
    with pytest.raises(KeyboardInterrupt):
        runner.up(db, "0005", Options(progress=stop))
    assert db.messages.count_documents({"seq": None}) == OLD - OLD // 3


def complete(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """All have numbers."""
    runner.up(db, "0005")


@pytest_asyncio.fixture
async def new_store(mongodb_uri: str, db: Database) -> AsyncIterator[Store]:
    """A store on a database without any migration."""
    store = Store(mongodb_uri, db.name)
    yield store
    await store.close()


def service_of(store: Store) -> MessageService:
    timeline = Timeline(store)
    return MessageService(store, timeline, timeline, Single(store))


async def pages(service: MessageService, since: datetime, limit: int) -> list[Page]:
    """All pages of the list, each found by the cursor that the one before has given out."""
    found = [await service.since(since, limit)]
    while (cursor := cursors.older(found[-1].next)) is not None:
        found.append(await service.older(cursors.read_older(cursor), limit))
    return found


@contextmanager
def profiled(db: Database) -> Iterator[list[dict[str, Any]]]:
    """Give a list that has the queries for messages, as MongoDB's profiler describes them, after the block."""
    queries: list[dict[str, Any]] = []
    db.command("profile", 2)
    yield queries
    db.command("profile", 0)
    queries += db["system.profile"].find({"op": "query", "ns": f"{db.name}.messages"})


def texts(found: list[Page]) -> list[str]:
    return [each.text for page in found for each in page.messages]


@pytest.mark.parametrize("prepare", [before, interrupted, complete], ids=lambda each: each.__name__)
@pytest.mark.parametrize("ago", [0, 5, 700, 2500, OLD + 1])
@pytest.mark.asyncio
async def test_no_list_since_a_time_scans(
    new_store: Store, db: Database, monkeypatch: pytest.MonkeyPatch, prepare: Prepare, ago: int
) -> None:
    db.messages.insert_many(old_messages())
    prepare(db, monkeypatch)
    service = service_of(new_store)
    since = BEGIN + (OLD - ago) * MINUTE
    with profiled(db) as queries:
        first = await service.since(since, 20)
        assert len(first.messages) == min(20, ago)
        if first.next is not None:
            await service.since(since, 20, below=first.next)
        await service.after(0, 20, since=since)
    assert queries
    for query in queries:
        assert "COLLSCAN" not in query.get("planSummary", ""), query
        assert not query.get("hasSortStage"), query
        assert query.get("keysExamined", 0) <= FEW, query
        assert query.get("docsExamined", 0) <= FEW, query
    assert sum(query.get("keysExamined", 0) for query in queries) <= 2 * FEW


@pytest.mark.parametrize("written", [0, 3])
@pytest.mark.parametrize("version", range(7))
@pytest.mark.asyncio
async def test_on_data_of_every_version_it_lists_what_the_lists_show_with_such_a_time(
    new_store: Store, db: Database, version: int, written: int
) -> None:
    db.messages.insert_many([*old_messages(40), {"_id": "an import", "text": "without a time"}])
    if version:
        runner.up(db, str(version))
    service = service_of(new_store)
    for number in range(written):
        await add(new_store, f"new {number}")
    everything = (await service.recent(100)).messages
    assert len(everything) == 41 + written
    for since in (BEGIN - MINUTE, BEGIN, BEGIN + 10 * MINUTE, BEGIN + 10.5 * MINUTE, BEGIN + 35 * MINUTE):
        wanted = [each.text for each in everything if each.created_at >= since]
        for limit in (1, 7, 100):
            found = await pages(service, since, limit)
            assert texts(found) == wanted
            assert [len(page.messages) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert texts(await pages(service, datetime(1970, 1, 1, tzinfo=UTC), 100)) == [each.text for each in everything]


@pytest.mark.asyncio
async def test_paging_goes_on_while_the_messages_get_their_numbers(
    new_store: Store, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pages the migration gives some numbers: no message is left out, and none comes twice."""
    db.messages.insert_many(old_messages(100))
    runner.up(db, "0004")
    for name in ("MIN_SIZE", "FIRST_SIZE", "MAX_SIZE"):
        monkeypatch.setattr(throttle, name, 20)
    service = service_of(new_store)
    since = BEGIN + 15 * MINUTE
    wanted = [each.text for each in (await service.since(since, 1000)).messages]
    assert len(wanted) == 85

    def stop(step: str, done: int, total: int) -> None:
        if step == "0005_seq" and db.messages.count_documents({"seq": None}) < left:
            raise KeyboardInterrupt

    page = await service.since(since, 9)
    found: list[Message] = page.messages
    while page.next is not None:
        left = db.messages.count_documents({"seq": None})
        if left:
            with pytest.raises(KeyboardInterrupt):
                runner.up(db, "0005", Options(progress=stop))
        page = await service.older(page.next, 9)
        found = found + page.messages
    assert [each.text for each in found] == wanted


@pytest.mark.asyncio
async def test_messages_of_an_old_server_do_not_stand_in_the_way(
    store: Store, migrated: Database, queries: Queries
) -> None:
    """Between numbered messages, an old server has stored thousands without a number."""
    await add(store, "first")
    last = migrated.messages.find_one({"text": "first"})["created_at"]
    migrated.messages.insert_many(
        {"text": f"old {number}", "created_at": last + number * MINUTE} for number in range(1, OLD)
    )
    migrated.counters.update_one({"_id": "messages"}, {"$set": {"at": last + OLD * MINUTE}})
    for number in range(5):
        await add(store, f"new {number}")
    service = service_of(store)
    assert texts(await pages(service, last + (OLD - 2) * MINUTE, 20)) == [
        "new 4", "new 3", "new 2", "new 1", "new 0", f"old {OLD - 1}", f"old {OLD - 2}",
    ]  # fmt: skip
    assert texts([await service.since(last + MINUTE, 6)])[-2:] == ["new 0", f"old {OLD - 1}"]
    assert all(query.get("keysExamined", 0) <= FEW for query in queries())


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.asyncio
async def test_an_old_message_that_is_later_than_a_new_one_is_listed(
    new_store: Store, db: Database, numbered: bool
) -> None:
    """A server of an older version has gone on for a while beside one of today's."""
    runner.up(db, "0005")
    db.messages.insert_many(old_messages(OLD))
    db.messages.insert_many(
        {"text": f"new {seq}", "seq": seq, "created_at": BEGIN + (OLD - 10 + 4 * seq) * MINUTE} for seq in range(1, 8)
    )
    db.counters.insert_one({"_id": "messages", "seq": 7})
    if numbered:
        db.messages.update_many({"created_at": None}, [{"$set": {"created_at": {"$toDate": "$_id"}}}])
        runner.up(db, "0005")
    service = service_of(new_store)
    everything = (await service.recent(OLD + 9)).messages
    assert len(everything) == OLD + 7
    with profiled(db) as queries:
        for ago in (-30, -1, 0, 3, 8, 20):
            since = BEGIN + (OLD - ago) * MINUTE
            wanted = sorted(each.text for each in everything if each.created_at >= since)
            for limit in (3, 100):
                assert sorted(texts(await pages(service, since, limit))) == wanted
    assert all(query.get("keysExamined", 0) <= FEW for query in queries)
