"""The store: reads and writes MongoDB. The only module of the service that uses a driver."""

import asyncio
import inspect
import logging
import math
import secrets
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

from bson import ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, ReturnDocument, errors, monitoring
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from server import tasks
from server.messages import Entry, KeyReused, Message, Outcome, Position, Source, StoreUnavailable, Void, Write, masked
from server.phases import DATABASE, IN_USE, POOL, Phase, Phases, current

Document = dict[str, Any]
WriteError = dict[str, Any]  # a member of `writeErrors` in a response of MongoDB

# Timeouts, so that a stalled database results in a 503 instead of a hanging request. Options in the URI override these.
CONNECTION = {"timeoutMS": 5000, "serverSelectionTimeoutMS": 1000, "appname": "backend-lab"}
# A change stream may wait for ever, so it has a client of its own without `timeoutMS`. MongoDB answers its queries at
# least every WATCH_MILLISECONDS, which the socket timeout relies on.
WATCHING: dict[str, Any] = {"timeoutMS": None, "socketTimeoutMS": 2000, "maxPoolSize": 2}
WATCH_MILLISECONDS = 500
CLOSE_SECONDS = 1.0
DURABLE = WriteConcern(w="majority", j=True)
# The counter needs no durable write: the write of the message that follows it waits for both.
IN_MEMORY = WriteConcern(w=1)
# A write that a majority has acknowledged cannot be rolled back, so a number that was read keeps its message.
MAJORITY = ReadConcern("majority")
# What somebody else has written may be no text or no time for Python; one such value must not end a whole query.
LENIENT: CodecOptions[Document] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)

ACCESS_DENIED = {13, 18}  # Unauthorized, AuthenticationFailed
DUPLICATE_KEY = 11000
EPOCH = datetime.fromtimestamp(0, UTC)
# Unnumbered documents have no `seq`; a missing field sorts below every number.
NEWEST_FIRST = [("seq", -1), ("created_at", -1), ("_id", -1)]
COUNTER = {"_id": "messages"}


SOURCES = get_args(Source)
# Documents that are no messages are named in the log, the first so many of them.
MAX_NAMED = 1000

_nobody = Phases()  # whom the background works for


def _phases() -> Phases:
    return current() or _nobody


class _NoMessage(Exception):
    """A document is none. The text says why."""


class _PoolListener(monitoring.ConnectionPoolListener):
    """Times how long each operation waits for a connection of the pool, and then uses it.

    Both are phases of the current request, which Motor makes known to its threads too.
    """

    def __init__(self, waited: Callable[[float], None], used: Callable[[float], None]) -> None:
        self._waited, self._used = waited, used
        # When each connection was, by its id: the next to use it may be told so before the last one has given it back.
        self._checked_out: defaultdict[int, deque[float]] = defaultdict(deque)

    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        _phases().begin(POOL)

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        _phases().end(POOL)

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self._waited(event.duration or 0.0)
        phases = _phases()
        phases.end(POOL)
        phases.begin(IN_USE)
        self._checked_out[event.connection_id].append(time.perf_counter())

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        _phases().end(IN_USE)
        self._used(time.perf_counter() - self._checked_out[event.connection_id].popleft())

    def _ignore(self, event: object) -> None:
        """Handler of all other events."""

    connection_closed = connection_created = connection_ready = _ignore
    pool_cleared = pool_closed = pool_created = pool_ready = _ignore


class Store:
    """The collections `messages`, `counters` and `visits`; implements `server.messages.Messages`.

    Belongs to the event loop in which it was created. `driver` is `motor` or `pymongo`; the methods used here are the
    same in both. Without `show_numbers`, the phone numbers of SMS authors are masked in all messages that it returns.
    `waited` and `used` are called with the seconds that each operation waited for a connection, and used it. Methods
    raise `StoreUnavailable`.
    """

    def __init__(
        self,
        mongodb_uri: str,
        database: str,
        driver: str = "motor",
        show_numbers: bool = False,
        waited: Callable[[float], None] = lambda seconds: None,
        used: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        client: Any = AsyncIOMotorClient if driver == "motor" else AsyncMongoClient
        try:
            in_uri = {name.lower() for name in parse_uri(mongodb_uri)["options"]}
            options: dict[str, Any] = {name: value for name, value in CONNECTION.items() if name.lower() not in in_uri}
            self._client = client(mongodb_uri, event_listeners=[_PoolListener(waited, used)], **options)
        except (errors.PyMongoError, ValueError, TypeError, OSError) as error:
            raise StoreUnavailable(f"the URI cannot be used: {_first_line(error)}") from error
        self._watching_client = AsyncMongoClient(mongodb_uri, **(options | WATCHING))
        self.passed_over: set[str] = set()  # the ids of documents that are no messages, so far
        # Distinguishes this process's writes from those of others.
        self._worker = secrets.token_hex(4)
        self._name = database
        self._show_numbers = show_numbers
        self._database = self._client.get_database(
            database, codec_options=LENIENT, write_concern=DURABLE, read_concern=MAJORITY
        )
        self._messages = self._database.messages
        self._counters = self._database.get_collection("counters", write_concern=IN_MEMORY)
        self._visits = self._database.visits

    async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
        documents = [self._document(write) for write in writes]
        outcomes: dict[int, Outcome] = {}
        remaining = list(range(len(documents)))
        with Phase(DATABASE), _errors_translated():
            while remaining:
                first, now = await self._next_numbers(len(remaining), known_complete)
                for seq, index in enumerate(remaining, first):
                    documents[index] |= {"seq": seq, "created_at": now}
                write_errors = await self._insert([documents[index] for index in remaining])
                results = {index: write_errors.get(position) for position, index in enumerate(remaining)}
                # A write that took so long that a reader has made its number void is repeated with a new number.
                remaining = [index for index, error in results.items() if _is_duplicate("seq", error)]
                outcomes |= {index: (self._message(documents[index]), False) for index in results if not results[index]}
                failed = {index: error for index, error in results.items() if error and index not in remaining}
                if failed:
                    await self.make_void([documents[index]["seq"] for index in failed])
                    outcomes |= await self._outcomes_of_failed(documents, failed)
        return [outcomes[index] for index in range(len(documents))]

    async def get(self, id: str) -> Message | None:
        with Phase(DATABASE), _errors_translated():
            document = await self._messages.find_one({"_id": ObjectId(id), "void": None})
        entry = None if document is None else self._entry(document)
        return entry if isinstance(entry, Message) else None

    async def stored_under(self, dedupe: str) -> str | None:
        with Phase(DATABASE), _errors_translated():
            document = await self._messages.find_one({"dedupe": dedupe}, {"_id": True})
        return None if document is None else str(document["_id"])

    async def before(self, position: Position, limit: int) -> list[Entry]:
        with Phase(DATABASE), _errors_translated():
            older = await self._older_than(position)
            documents = await self._messages.find(older, sort=NEWEST_FIRST, limit=limit).to_list(limit)
        return [self._entry(document) for document in documents]

    async def after(self, seq: int, limit: int) -> list[Entry]:
        with Phase(DATABASE), _errors_translated():
            cursor = self._messages.find({"seq": {"$gt": seq}}, sort=[("seq", 1)], limit=limit)
            return [self._entry(document) for document in await cursor.to_list(limit)]

    async def numbers_after(self, seq: int, limit: int) -> list[int]:
        with Phase(DATABASE), _errors_translated():
            cursor = self._messages.find(
                {"seq": {"$gt": seq}}, {"_id": False, "seq": True}, sort=[("seq", 1)], limit=limit
            )
            numbers = [_number(document["seq"]) for document in await cursor.to_list(limit)]
        return [number for number in numbers if number is not None]

    async def replies(self, id: str, after: int, up_to: int, limit: int) -> list[Message]:
        found: list[Message] = []
        with Phase(DATABASE), _errors_translated():
            while (wanted := limit - len(found)) > 0:
                of_message = {"reply_to": ObjectId(id), "seq": {"$gt": after, "$lte": up_to}}
                documents = await self._messages.find(of_message, sort=[("seq", 1)], limit=wanted).to_list(wanted)
                entries = map(self._entry, documents)
                found += [entry for entry in entries if isinstance(entry, Message)]
                if len(documents) < wanted:
                    break
                after = documents[-1]["seq"]
        return found

    async def first_since(self, since: datetime) -> int | None:
        with Phase(DATABASE), _errors_translated():
            by_time = [("created_at", 1), ("seq", 1)]
            numbered = {"created_at": {"$gte": since}, "seq": {"$type": "number"}}
            async for document in self._messages.find(numbered, sort=by_time, batch_size=2):
                if isinstance(self._entry(document), Message):
                    return _number(document["seq"])
        return None

    async def make_void(self, numbers: Iterable[int]) -> None:
        with Phase(DATABASE), _errors_translated():
            write_errors = await self._insert([{"seq": seq, "void": True} for seq in numbers])
        for error in write_errors.values():
            if not _is_duplicate("seq", error):  # a message with this number has been stored meanwhile
                raise _exception(error)

    async def known_complete(self) -> int:
        with Phase(DATABASE), _errors_translated():
            counter = await self._counters.find_one(COUNTER)
        return int(counter.get("complete") or 0) if counter else 0

    async def changes(self) -> AsyncGenerator[Entry | None]:
        messages = self._watching_client[self._name].get_collection("messages", codec_options=LENIENT)
        with _errors_translated():
            pipeline = [{"$match": _changes_by_others(self._worker)}]
            async with await messages.watch(pipeline, max_await_time_ms=WATCH_MILLISECONDS) as stream:
                while stream.alive:
                    change = await stream.try_next()
                    if change is not None and change["operationType"] != "insert":
                        break  # a deletion, or a drop of the collection, by an administrator
                    yield None if change is None else self._entry(change["fullDocument"])
        raise StoreUnavailable("messages were deleted: caches have to be filled again")

    async def add_visit(self) -> int:
        with Phase(DATABASE), _errors_translated():
            await self._visits.insert_one({"at": datetime.now(UTC)})
            return int(await self._visits.estimated_document_count())

    async def data_version(self) -> int:
        with Phase(DATABASE), _errors_translated():
            last = await self._database.migrations.find_one({}, {"_id": True}, sort=[("_id", -1)])
        return int(last["_id"].split("_")[0]) if last else 0

    async def ping(self) -> None:
        with Phase(DATABASE), _errors_translated():
            await self._client.admin.command("ping")

    async def close(self) -> None:
        """Close all connections."""
        closing_watched = asyncio.create_task(self._watching_client.close())
        # PyMongo ends its sessions on the server first, and a stalled database does not answer.
        await asyncio.wait({closing_watched}, timeout=CLOSE_SECONDS)
        await tasks.end(closing_watched)
        closing = self._client.close()
        if inspect.isawaitable(closing):  # with PyMongo, but not with Motor
            await closing

    def _document(self, write: Write) -> Document:
        new = write.new
        document: Document = {"text": new.text, "author": new.author, "source": write.source, "worker": self._worker}
        if new.reply_to is not None:
            document["reply_to"] = ObjectId(new.reply_to)
        if write.dedupe is not None:
            document |= {"dedupe": write.dedupe, "fingerprint": new.fingerprint()}
        return document

    async def _insert(self, documents: list[Document]) -> dict[int, WriteError]:
        """Insert the documents; return the errors of those that failed, by their index in the list."""
        try:
            await self._messages.insert_many(documents, ordered=False)
        except errors.BulkWriteError as error:
            if error.details["writeConcernErrors"]:
                raise
            return {each["index"]: each for each in error.details["writeErrors"]}
        return {}

    async def _next_numbers(self, count: int, known_complete: int) -> tuple[int, datetime]:
        """Reserve `count` consecutive numbers; return the first of them and the database's time.

        Of two reservations, the one with the higher numbers has the same or a later time.
        """
        counter = await self._counters.find_one_and_update(
            COUNTER,
            [
                {
                    "$set": {
                        "seq": {"$add": [{"$ifNull": ["$seq", 0]}, count]},
                        "at": {"$max": ["$at", "$$NOW"]},
                        "complete": {"$max": ["$complete", known_complete]},
                    }
                }
            ],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return int(counter["seq"]) - count + 1, counter["at"]

    async def _outcomes_of_failed(self, documents: list[Document], failed: dict[int, WriteError]) -> dict[int, Outcome]:
        """The outcomes of inserts that failed, by index: usually the message is stored already, with the same key."""
        keys = [documents[index].get("dedupe") for index in failed]
        cursor = self._messages.find({"dedupe": {"$in": [key for key in keys if key is not None]}})
        stored = {document["dedupe"]: document for document in await cursor.to_list(len(keys))}
        outcomes: dict[int, Outcome] = {}
        for index, error in failed.items():
            before = stored.get(documents[index].get("dedupe"))
            if before is None or not _is_duplicate("dedupe", error):
                outcomes[index] = _exception(error)
            elif before.get("fingerprint") != documents[index]["fingerprint"]:
                outcomes[index] = KeyReused(
                    "this idempotency key was used for another message: use a new key for each message"
                )
            else:
                outcomes[index] = self._message(before), True
        return outcomes

    async def _older_than(self, position: Position) -> Document:
        """The filter for documents below `position` in the order NEWEST_FIRST."""
        if position.before_id is not None:
            id = _id_of(position.before_id)
            document = await self._messages.find_one({"_id": id}, {"created_at": True}) or {}
            return _unnumbered_older_than(document.get("created_at"), id)
        numbered: Document = {}
        if position.before is not None:
            numbered["$lt"] = position.before
        if position.floor is not None:
            return {"seq": numbered | {"$gte": position.floor}}
        # Of numbers and of those without; a number that is a string would be above all others.
        return {"$or": [{"seq": numbered or {"$lte": math.inf}}, {"seq": None}]}

    def _entry(self, document: Document) -> Entry:
        """The message or void number in a document. A document that is neither is passed over, and named once."""
        try:
            if not document.get("void"):
                return self._message(document)
            if _number(document.get("seq")) is None:
                raise _NoMessage("it is void, and has no number")
        except _NoMessage as why:
            self._pass_over(str(document["_id"]), why)
        return Void(_number(document.get("seq")), str(document["_id"]))

    def _pass_over(self, id: str, why: _NoMessage) -> None:
        if id not in self.passed_over and len(self.passed_over) < MAX_NAMED:
            self.passed_over.add(id)
            logging.warning("document %s is no message, and is passed over: %s", id, why)

    def _message(self, document: Document) -> Message:
        message = _message(document)
        if self._show_numbers or message.source != "sms":
            return message
        return replace(message, author=masked(message.author))


@contextmanager
def _errors_translated() -> Iterator[None]:
    """Raise `StoreUnavailable` for driver errors that mean that the database is unavailable. Other errors are bugs."""
    try:
        yield
    except (errors.ConnectionFailure, errors.ConfigurationError, errors.InvalidURI) as error:
        raise StoreUnavailable(_first_line(error)) from error
    except errors.PyMongoError as error:
        denied = isinstance(error, errors.OperationFailure) and error.code in ACCESS_DENIED
        if not (error.timeout or denied or error.has_error_label("RetryableWriteError")):
            raise
        raise StoreUnavailable(_first_line(error)) from error


def _changes_by_others(worker: str) -> Document:
    """The filter for a change stream: inserts by other workers, and deletions. Numbered messages are never updated."""
    # `$ne` is equivalent, but MongoDB would evaluate it only after building the change event. These conditions it can
    # apply to the oplog, at half the cost for each event that is filtered out.
    others = [{"fullDocument.worker": each} for each in ({"$lt": worker}, {"$gt": worker}, None)]
    return {"operationType": {"$nin": ["update", "replace"]}, "$or": others}


def _is_duplicate(field: str, error: WriteError | None) -> bool:
    """Whether an insert failed because another document has the same value of the unique `field`."""
    return error is not None and error["code"] == DUPLICATE_KEY and field in error["keyPattern"]


def _exception(error: WriteError) -> errors.WriteError:
    return errors.WriteError(error["errmsg"], error["code"], error)


def _first_line(error: Exception) -> str:
    return str(error).split(", Timeout:")[0].split(" (configured timeouts:")[0].splitlines()[0]


def _message(document: Document) -> Message:
    """Make a message from a document of any version of the data model (see `migrations/versions`).

    Raises `_NoMessage` for what the service cannot have written.
    """
    text, author, reply_to = document.get("text"), document.get("author", "anonymous"), document.get("reply_to")
    created_at, source, seq = document.get("created_at"), document.get("source", "api"), document.get("seq")
    if not (isinstance(text, str) and isinstance(author, str) and source in SOURCES):
        raise _NoMessage("its text, its author or its source is none")
    if not (created_at is None or isinstance(created_at, datetime)):
        raise _NoMessage("its created_at is no time between the years 1 and 9999")
    if seq is not None and _number(seq) is None:
        raise _NoMessage("its seq is no whole number")
    return Message(
        id=str(document["_id"]),
        text=text,
        author=author,
        created_at=created_at or _time_of_id(document["_id"]),
        reply_to=None if reply_to is None else str(reply_to),
        source=source,
        seq=_number(seq),
    )


def _number(value: Any) -> int | None:
    """A sequence number, also one that a JavaScript shell has written; None if it is none."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value % 1 == 0
    return int(value) if whole else None


def _id_of(text: str) -> Any:
    return ObjectId(text) if ObjectId.is_valid(text) else text


def _unnumbered_older_than(created_at: datetime | None, id: ObjectId) -> Document:
    """The filter for unnumbered documents that follow this one in the order NEWEST_FIRST."""
    if created_at is None:
        return {"seq": None, "created_at": None, "_id": {"$lt": id}}
    same_time = {"created_at": created_at, "_id": {"$lt": id}}
    return {"seq": None, "$or": [{"created_at": {"$lt": created_at}}, same_time, {"created_at": None}]}


def _time_of_id(id: Any) -> datetime:
    """The time in an ObjectId; EPOCH for ids of other types, which contain no time."""
    return id.generation_time if isinstance(id, ObjectId) else EPOCH
