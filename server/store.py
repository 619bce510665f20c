"""The store: reads and writes MongoDB. No other module of the service has queries."""

import asyncio
import inspect
import logging
import math
import secrets
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, ReturnDocument, errors, monitoring
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from server import filters, tasks
from server.documents import NoMessage, is_since, message_in, number_of, plain
from server.messages import Entry, KeyReused, Message, Outcome, Position, StoreUnavailable, Void, Write, masked
from server.mongodb import (
    DUPLICATE_KEY,
    first_line,
    one_primary,
    operation,
    passes,
    read,
    same_primary,
    translated,
    unavailable,
)
from server.phases import IN_USE, POOL, Phases, current

Document = dict[str, Any]
Query = dict[str, Any]  # the arguments of `find`
WriteError = dict[str, Any]  # a member of `writeErrors` in a response of MongoDB

# Timeouts, so that a stalled database results in a 503 instead of a hanging request. Options in the URI override these.
CONNECTION = {"timeoutMS": 5000, "serverSelectionTimeoutMS": 1000, "appname": "backend-lab"}
# Not even the URI overrides these: they keep the promise of `one_primary`. Operations are repeated by `operation`.
ONE_PRIMARY: dict[str, Any] = {"retryWrites": False, "server_selector": same_primary}
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
# Before MongoDB answers such a read, of one document, it replicates a line of its log that says nothing.
LINEARIZABLE = ReadConcern("linearizable")
# What somebody else has written may be no text or no time for Python; one such value must not end a whole query.
LENIENT: CodecOptions[Document] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)

NO_SUCH_INDEX = 2  # BadValue: what a `hint` names does not exist
TIME = {"seq": True, "created_at": True}
NEAREST = 10  # so many messages after a time are looked at for one that has a number
LOWEST = -(2**53)
MEANWHILE = 10_000  # migration 0005 gives less numbers than that between two queries
COUNTER = {"_id": "messages"}


KEY_REUSED = "this idempotency key was used for another message: use a new key for each message"
# Documents that are no messages are named in the log, the first so many of them.
MAX_NAMED = 1000

_nobody = Phases()  # whom the background works for


def _phases() -> Phases:
    return current() or _nobody


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
            listeners = [_PoolListener(waited, used)]
            self._client = client(mongodb_uri, event_listeners=listeners, **options, **ONE_PRIMARY)
        except (errors.PyMongoError, ValueError, TypeError, OSError) as error:
            raise StoreUnavailable(f"the URI cannot be used: {first_line(error)}") from error
        self._watching_client = AsyncMongoClient(mongodb_uri, **(options | WATCHING))
        self.seconds: float | None = self._client.options.timeout or None  # that an operation may take
        self.primary: object = None
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
        await self._add(documents, known_complete, outcomes)
        return [outcomes[index] for index in range(len(documents))]

    @operation
    async def _add(self, documents: list[Document], known_complete: int, outcomes: dict[int, Outcome]) -> None:
        """Store the documents that have no outcome yet, and add their outcomes.

        A number is taken, and its message inserted, on one primary: see decision 86.
        """
        while remaining := [index for index in range(len(documents)) if index not in outcomes]:
            with one_primary():
                first, now = await self._next_numbers(len(remaining), known_complete)
                for seq, index in enumerate(remaining, first):
                    documents[index] |= {"seq": seq, "created_at": now}
                write_errors = await self._insert([documents[index] for index in remaining])
            results = {index: write_errors.get(position) for position, index in enumerate(remaining)}
            outcomes |= {index: (self._message(documents[index]), False) for index in results if not results[index]}
            # A write that took so long that a reader has made its number void is repeated with a new number.
            failed = {index: error for index, error in results.items() if error and not _is_duplicate("seq", error)}
            if failed:
                await self._make_void([documents[index]["seq"] for index in failed])
                outcomes |= await self._outcomes_of_failed(documents, failed)

    @read
    async def get(self, id: str) -> Message | None:
        document = await self._messages.find_one({"_id": ObjectId(id)})
        entry = None if document is None else self._entry(document)
        return entry if isinstance(entry, Message) else None

    @read
    async def stored_under(self, dedupe: str) -> str | None:
        document = await self._messages.find_one({"dedupe": dedupe}, {"_id": True})
        return None if document is None else str(document["_id"])

    @read
    async def before(self, position: Position, limit: int) -> list[Entry]:
        position, created_at = await self._now(position)
        numbered = filters.numbered(position, await self._old_floor(position))
        unnumbered = filters.unnumbered(position, created_at)
        in_order = _query(numbered + unnumbered, filters.NEWEST_FIRST, limit)
        by_time = _query(unnumbered, filters.BY_TIME, limit)
        documents = await self._find("timeline", in_order, in_order if numbered else by_time, by_time)
        return [self._entry(document) for document in documents]

    @read
    async def after(self, seq: Any, limit: int) -> list[Entry]:
        cursor = self._messages.find({"seq": {"$gt": seq}}, sort=[("seq", 1)], limit=limit)
        return [self._entry(document) for document in await cursor.to_list(limit)]

    @read
    async def numbers_after(self, seq: int, limit: int) -> list[int]:
        numbers: list[int] = []
        place: Any = seq
        while (wanted := limit - len(numbers)) > 0:
            query = _query([{"seq": {"$gt": place}}], [("seq", 1)], wanted, {"_id": False, "seq": True})
            documents = await self._find("number", query, query)
            found = [number_of(document["seq"]) for document in documents]
            numbers += [number for number in found if number is not None]
            if len(documents) < wanted:
                break
            place = documents[-1]["seq"]
        return numbers

    @read
    async def replies(self, id: str, after: int, up_to: int, limit: int) -> list[Message]:
        found: list[Message] = []
        while (wanted := limit - len(found)) > 0:
            of_message = {"reply_to": ObjectId(id), "seq": {"$gt": after, "$lte": up_to}}
            documents = await self._messages.find(of_message, sort=[("seq", 1)], limit=wanted).to_list(wanted)
            entries = map(self._entry, documents)
            found += [entry for entry in entries if isinstance(entry, Message)]
            if len(documents) < wanted:
                break
            after = documents[-1]["seq"]
        return found

    @read
    async def first_since(self, since: datetime) -> int | None:
        if since <= filters.EPOCH:
            return LOWEST  # this is the time of messages that have none
        then, by_time = {"created_at": {"$gte": since}}, [("created_at", 1), ("seq", 1)]
        numbered = _query([then | {"seq": {"$type": "number"}}], by_time, NEAREST)
        nearest = await self._find("since", _query([then], by_time, NEAREST), numbered)
        for document in nearest:
            entry = self._entry(document)
            if isinstance(entry, Message) and entry.seq is not None:
                return entry.seq - (MEANWHILE if nearest[0].get("seq") is None else 0)
        return await self._bisected(since, filters.NUMBERS) if len(nearest) == NEAREST else None

    @operation
    async def make_void(self, numbers: Sequence[int]) -> None:
        await self._make_void(numbers)

    async def _make_void(self, numbers: Sequence[int]) -> None:
        write_errors = await self._insert([{"seq": seq, "void": True} for seq in numbers])
        for error in write_errors.values():
            if not _is_duplicate("seq", error):  # an entry with this number has been stored meanwhile
                raise _exception(error)

    @read
    async def known_complete(self) -> int:
        counter = await self._counters.find_one(COUNTER)
        return int(counter.get("complete") or 0) if counter else 0

    async def changes(self) -> AsyncGenerator[Entry | None]:
        messages = self._watching_client[self._name].get_collection("messages", codec_options=LENIENT)
        with translated():
            pipeline = [{"$match": _changes_by_others(self._worker)}]
            async with await messages.watch(pipeline, max_await_time_ms=WATCH_MILLISECONDS) as stream:
                yield None  # it is open: whoever waits for that does not wait for the first change
                while stream.alive:
                    change = await stream.try_next()
                    if change is not None and change["operationType"] != "insert":
                        break  # a deletion, or a drop of the collection, by an administrator
                    yield None if change is None else self._entry(change["fullDocument"])
        raise StoreUnavailable("messages were deleted: caches have to be filled again")

    async def add_visit(self) -> int:
        return await self._add_visit({"_id": ObjectId(), "at": datetime.now(UTC)})

    @operation
    async def _add_visit(self, visit: Document) -> int:
        with suppress(errors.DuplicateKeyError):  # an attempt before this one stored it, and was not answered
            await self._visits.insert_one(visit)
        return int(await self._visits.estimated_document_count())

    @operation
    async def data_version(self) -> int:
        of_ours = {"_id": {"$regex": "^[0-9]{4}_"}}  # another tool may use this collection too
        last = await self._database.migrations.find_one(of_ours, {"_id": True}, sort=[("_id", -1)])
        return int(last["_id"].split("_")[0]) if last else 0

    @operation
    async def ping(self) -> None:
        await self._client.admin.command("ping")

    async def commit_nothing(self) -> None:
        """Return when the primary has replicated something to a majority. For `read`."""
        await self._counters.with_options(read_concern=LINEARIZABLE).find_one(COUNTER, {"_id": True})

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
        # The id is chosen here: by it an attempt recognises what one before it stored, and was not answered.
        document: Document = {"_id": ObjectId(), "text": new.text, "author": new.author, "source": write.source}
        document["worker"] = self._worker
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
            for each in error.details["writeConcernErrors"]:
                raise errors.WriteConcernError(each["errmsg"], each["code"], each) from error
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
        """The outcomes of inserts that failed, by index: usually the message is stored already.

        Raises the first error that passes, so that the others are inserted again.
        """
        stored = {field: await self._stored(field, documents, failed) for field in ("_id", "dedupe")}
        outcomes: dict[int, Outcome] = {}
        for index, error in failed.items():
            document = documents[index]
            if _is_duplicate("_id", error):  # by an attempt that was not answered
                outcomes[index] = self._message(stored["_id"][document["_id"]]), False
            elif _is_duplicate("dedupe", error):
                before = stored["dedupe"][document["dedupe"]]
                same = before.get("fingerprint") == document["fingerprint"]
                outcomes[index] = (self._message(before), True) if same else KeyReused(KEY_REUSED)
            elif passes(_exception(error)):
                raise _exception(error)
            else:
                outcomes[index] = unavailable(_exception(error))
        return outcomes

    async def _stored(
        self, field: str, documents: list[Document], failed: dict[int, WriteError]
    ) -> dict[Any, Document]:
        """The stored documents, by the value of the unique `field`, for which inserts have failed."""
        values = {documents[index][field] for index, error in failed.items() if _is_duplicate(field, error)}
        if not values:
            return {}
        found = await self._messages.find({field: {"$in": list(values)}}).to_list(len(values))
        if len(found) < len(values):
            raise errors.AutoReconnect("a message that is stored cannot be read yet")
        return {document[field]: document for document in found}

    async def _find(
        self, index: str, query: Query | None, if_numbered: Query | None, if_not: Query | None = None
    ) -> list[Document]:
        """What `query` finds by an index of migration 0005.

        Without that index it is one of the others: `if_numbered` looks at all messages if any number was given out.
        """
        try:
            return await self._found({**query, "hint": index} if query else None)
        except errors.OperationFailure as error:
            if error.code != NO_SUCH_INDEX:
                raise
        counter = await self._counters.find_one(COUNTER)
        return await self._found(if_not if counter is None else if_numbered)

    async def _found(self, query: Query | None) -> list[Document]:
        return await self._messages.find(**query).to_list(query["limit"]) if query else []

    async def _old_floor(self, position: Position) -> int | None:
        """The lowest number of an old message of that time, where the floor of a list since a time is above all these.

        A server of an older version may have stored it when new messages, which are above it, had numbers already.
        """
        since = position.since
        if since is None or position.floor is None or position.floor <= 0:
            return None
        query = _query([{"seq": filters.OLD_NUMBERS}], [("seq", -1)], 1, TIME)
        newest = await self._find("number", query, query)
        if not newest or not is_since(newest[0].get("created_at"), since):
            return None
        return await self._bisected(since, filters.OLD_NUMBERS)

    async def _bisected(self, since: datetime, numbers: Document) -> int:
        """The lowest of `numbers` of a message created at or after `since`, however many of that time have none.

        Bisection needs what is true of numbered messages only: times never fall as numbers grow.
        """
        by_number: dict[str, Any] = {"projection": TIME, "hint": "number"}
        lowest, highest = [
            await self._messages.find_one({"seq": numbers}, sort=[("seq", way)], **by_number) for way in (1, -1)
        ]
        if lowest is None or highest is None:
            return -MEANWHILE

        async def is_reached(number: int) -> bool:
            from_there = {"seq": numbers | {"$gte": number}, "void": None}
            document = await self._messages.find_one(from_there, sort=[("seq", 1)], **by_number)
            return document is None or is_since(document.get("created_at"), since)

        low: int = math.floor(plain(lowest["seq"]))
        high: int = math.floor(plain(highest["seq"])) + 1
        if await is_reached(low):
            return low - MEANWHILE
        while low + 1 < high:
            middle = (low + high) // 2
            if await is_reached(middle):
                high = middle
            else:
                low = middle
        return high

    async def _now(self, position: Position) -> tuple[Position, Any]:
        """`position`, by its number if its message has been given one meanwhile; and the time of that message."""
        if position.before_id is None:
            return position, None
        id = filters.id_of(position.before_id)
        document = await self._messages.find_one({"_id": id}, TIME) or {}
        number = number_of(document.get("seq"))
        return (position, document.get("created_at")) if number is None else (position.at(number), None)

    def _entry(self, document: Document) -> Entry:
        """The message or void number in a document. A document that is neither is passed over, and named once."""
        try:
            if not document.get("void"):
                return self._message(document)
            if number_of(document.get("seq")) is None:
                raise NoMessage("it is void, and has no number")
        except NoMessage as why:
            self._pass_over(str(document["_id"]), why)
        seq = document.get("seq")
        return Void(number_of(seq), str(document["_id"]), seq)

    def _pass_over(self, id: str, why: NoMessage) -> None:
        if id not in self.passed_over and len(self.passed_over) < MAX_NAMED:
            self.passed_over.add(id)
            logging.warning("document %s is no message, and is passed over: %s", id, why)

    def _message(self, document: Document) -> Message:
        message = message_in(document)
        if self._show_numbers or message.source != "sms":
            return message
        return replace(message, author=masked(message.author))


def _changes_by_others(worker: str) -> Document:
    """The filter for a change stream: inserts by other workers, and deletions. Numbered messages are never updated."""
    # `$ne` is equivalent, but MongoDB would evaluate it only after building the change event. These conditions it can
    # apply to the oplog, at half the cost for each event that is filtered out.
    others = [{"fullDocument.worker": each} for each in ({"$lt": worker}, {"$gt": worker}, None)]
    return {"operationType": {"$nin": ["update", "replace"]}, "$or": others}


def _is_duplicate(field: str, error: WriteError | None) -> bool:
    """Whether an insert failed because another document has the same value of the unique `field`."""
    return error is not None and error["code"] == DUPLICATE_KEY and list(error.get("keyPattern", ())) == [field]


def _exception(error: WriteError) -> errors.WriteError:
    return errors.WriteError(error["errmsg"], error["code"], error)


def _query(
    alternatives: list[Document], sort: list[tuple[str, int]], limit: int, projection: Document | None = None
) -> Query | None:
    """The arguments of `find` for documents that match any of the alternatives; None without any."""
    found: Query = {"filter": {"$or": alternatives}, "projection": projection, "sort": sort, "limit": limit}
    return found if alternatives else None
