"""What MongoDB reports: what passes is repeated, the rest is an error of the core that says what to do.

MongoDB's own failpoint `failCommand` makes the errors, for the service's clients only.
"""

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from harness.mongod import REPLICA_SET
from harness.replica_set import start_replica_set
from harness.throwaway import FAILPOINTS, mongod_running
from server.api.problems import problem
from server.messages import NewMessage, Position, StoreRefused, StoreUnavailable, Write
from server.mongodb import CURES, DRIVER_LOGGER, LATER, PASSING, OneLine, unavailable
from server.store import Store
from tests.server.writing import add

NAME = "test"
ONCE = {"times": 1}
Fail = Callable[..., None]
Call = Callable[[Store], Coroutine[Any, Any, Any]]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mongod_running(tmp_path_factory.mktemp("failing"), *FAILPOINTS) as (port, _):
        start_replica_set(f"127.0.0.1:{port}", REPLICA_SET)
        yield f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"


@pytest.fixture
def client(uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](uri) as client:
        yield client
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        client.drop_database(NAME)


@pytest.fixture
def messages(client: MongoClient[dict[str, Any]]) -> Any:
    collection = client[NAME].messages
    for unique in ("seq", "dedupe"):
        collection.create_index(unique, unique=True, partialFilterExpression={unique: {"$exists": True}})
    return collection


@pytest.fixture
def fail(client: MongoClient[dict[str, Any]], messages: Any) -> Fail:
    """Let the service's next command with this name fail, or all of them."""

    def configure(command: str, mode: Any = ONCE, **how: Any) -> None:
        data = {"failCommands": [command], "appName": "backend-lab", **how}
        client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})

    return configure


@pytest_asyncio.fixture(params=["motor", "pymongo"])
async def store(request: pytest.FixtureRequest, uri: str, messages: Any) -> AsyncIterator[Store]:
    store = Store(uri, NAME, request.param)
    yield store
    await store.close()


@pytest_asyncio.fixture(params=["motor", "pymongo"])
async def impatient(request: pytest.FixtureRequest, uri: str, messages: Any) -> AsyncIterator[Store]:
    store = Store(f"{uri}&timeoutMS=500", NAME, request.param)
    yield store
    await store.close()


READS: dict[str, Call] = {
    "before": lambda store: store.before(Position(), 10),
    "after": lambda store: store.after(0, 10),
    "numbers_after": lambda store: store.numbers_after(0, 10),
    "get": lambda store: store.get(str(ObjectId())),
    "known_complete": lambda store: store.known_complete(),
}
CURSORS = {43, 136, 237}
# After these a driver waits until the server is gone, which it only says it is.
GOING = {91, 11600}
TAKEN = {"errorCode": 11000, "errorExtraInfo": {"keyPattern": {"_id": 1}, "keyValue": {"_id": "messages"}}}
OF_WRITES = [{"errorCode": code} for code in sorted(set(PASSING) - CURSORS - GOING - {11000})]


@pytest.mark.asyncio
@pytest.mark.parametrize("code", sorted(set(PASSING) - GOING - {11000}))
async def test_a_read_is_repeated_when_its_error_passes(store: Store, fail: Fail, code: int) -> None:
    expected = {name: await read(store) for name, read in READS.items()}
    for name, read in READS.items():
        fail("find", errorCode=code)
        assert await read(store) == expected[name], name


@pytest.mark.asyncio
@pytest.mark.parametrize("command", ["findAndModify", "insert"])
@pytest.mark.parametrize("how", [*OF_WRITES, {"closeConnection": True}], ids=str)
async def test_a_write_is_repeated_when_its_error_passes(
    store: Store, fail: Fail, messages: Any, command: str, how: dict[str, Any]
) -> None:
    fail(command, **how)
    message, replayed = await add(store, "hello", dedupe="key")
    assert not replayed
    assert [(str(each["_id"]), each["seq"]) for each in messages.find()] == [(message.id, message.seq)]


@pytest.mark.asyncio
async def test_a_counter_that_another_process_creates_at_the_same_time_is_taken(store: Store, fail: Fail) -> None:
    fail("findAndModify", **TAKEN)
    assert (await add(store))[0].seq == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [91, 11601, 11602])
async def test_a_message_that_was_stored_unanswered_is_stored_once(
    store: Store, fail: Fail, messages: Any, code: int
) -> None:
    fail("insert", writeConcernError={"code": code, "errmsg": "somebody interrupts the waiting"})
    outcomes = await store.add([Write(NewMessage(text=str(number)), "api", None) for number in range(3)], 0)
    stored = {str(each["_id"]): each["seq"] for each in messages.find({"void": None})}
    assert [(stored[message.id], replayed) for message, replayed in outcomes] == [(1, False), (2, False), (3, False)]
    assert [each["seq"] for each in messages.find({"void": True}, sort=[("seq", 1)])] == [
        4,
        5,
        6,
    ]  # and none is missing


@pytest.mark.asyncio
async def test_a_visit_that_was_stored_unanswered_is_stored_once(store: Store, fail: Fail) -> None:
    fail("insert", writeConcernError={"code": 11601, "errmsg": "somebody interrupts the waiting"})
    assert [await store.add_visit(), await store.add_visit()] == [1, 2]


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [50, 112, 262, 9001, 10107])
async def test_what_does_not_pass_in_time_is_said_with_retry_after(impatient: Store, fail: Fail, code: int) -> None:
    for command, call in (("find", READS["before"]), ("findAndModify", add), ("insert", add)):
        fail(command, "alwaysOn", errorCode=code)
        with pytest.raises(StoreUnavailable) as raised:
            await call(impatient)
        assert problem(raised.value).status == 503
        assert "Retry-After" in problem(raised.value).headers


@pytest.mark.parametrize("code", sorted({*PASSING, *LATER} - {11000}))
def test_what_may_pass_later_is_no_refusal(code: int) -> None:
    error = unavailable(OperationFailure("not now", code))
    assert type(error) is StoreUnavailable
    assert str(error) == "not now"


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [64, 100, 11602])
async def test_a_write_concern_that_is_not_reached_is_said_with_retry_after(
    store: Store, fail: Fail, code: int
) -> None:
    fail("insert", "alwaysOn", writeConcernError={"code": code, "errmsg": "Not enough data-bearing nodes"})
    with pytest.raises(StoreUnavailable, match=r"^Not enough data-bearing nodes$") as raised:
        await add(store, "a secret")
    assert not isinstance(raised.value, StoreRefused)


@pytest.mark.asyncio
@pytest.mark.parametrize("code", sorted(set(CURES) - {121, 11000}))  # which hold more than a code: see below
async def test_what_does_not_pass_at_all_says_what_to_do_and_not_when(store: Store, fail: Fail, code: int) -> None:
    for command, call in (("find", READS["before"]), ("findAndModify", add), ("insert", add)):
        fail(command, errorCode=code)
        with pytest.raises(StoreRefused) as raised:
            await call(store)
        assert str(raised.value).endswith(CURES[code])
        assert problem(raised.value).status == 503
        assert "Retry-After" not in problem(raised.value).headers


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [8, 9, 26, 59, 96, 323, 17280, 51075])
async def test_what_nobody_foresaw_is_logged_and_refused(
    store: Store, fail: Fail, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    for command, call in (("find", READS["before"]), ("findAndModify", add), ("insert", add)):
        caplog.clear()
        fail(command, errorCode=code)
        with pytest.raises(StoreRefused, match="log says why"):
            await call(store)
        (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
        assert record.exc_info


def test_that_the_driver_reaches_no_server_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    logger, one_line = logging.getLogger(DRIVER_LOGGER), OneLine()
    logger.addFilter(one_line)
    try:
        for error in (ServerSelectionTimeoutError("nobody, Timeout: 1.0s, Topology …"), KeyError("a bug")):
            try:
                raise error
            except Exception:
                logger.exception("a background task:")
    finally:
        logger.removeFilter(one_line)
    away, bug = caplog.records
    assert (away.levelname, away.getMessage(), away.exc_info) == ("WARNING", "a background task: nobody", None)
    assert bug.exc_info
    assert bug.levelname == "ERROR"


@pytest.mark.asyncio
async def test_one_message_that_a_validator_of_others_refuses_harms_no_other(
    store: Store, client: MongoClient[dict[str, Any]], messages: Any
) -> None:
    client[NAME].command("collMod", "messages", validator={"text": {"$ne": "refused secret"}})
    texts = ("one", "refused secret", "two")
    one, refused, two = await store.add([Write(NewMessage(text=text), "api", None) for text in texts], 0)
    assert [each["seq"] for each in messages.find(sort=[("seq", 1)])] == [1, 2, 3]  # the second is void
    assert isinstance(refused, StoreRefused)
    assert "validator" in str(refused)
    assert "secret" not in str(refused)
    assert not isinstance(one, Exception)
    assert not isinstance(two, Exception)


@pytest.mark.asyncio
async def test_a_unique_index_of_others_is_named_and_what_it_holds_is_not(store: Store, messages: Any) -> None:
    messages.create_index("text", unique=True)
    await add(store, "a secret")
    with pytest.raises(StoreRefused, match=r"text_1.*drop the unique index") as raised:
        await add(store, "a secret")
    assert "a secret" not in str(raised.value)
