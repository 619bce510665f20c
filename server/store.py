"""MongoDB: the only file of the service that knows a driver."""

import asyncio
import inspect
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, ReturnDocument, errors, monitoring
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from server import tasks
from server.messages import Entry, KeyReused, Message, Outcome, Position, StoreUnavailable, Void, Write, masked
from server.telemetry import Phase

Document = dict[str, Any]
Refusal = dict[str, Any]  # one of MongoDB's writeErrors

# Waits are bounded so that a stalled database becomes a 503 instead of a hanging caller.
# What the connection string says is stronger.
CONNECTION = {"timeoutMS": 5000, "serverSelectionTimeoutMS": 1000, "appname": "backend-lab"}
# A change stream waits for as long as nothing changes, and has a connection of its own: on it, something comes
# at least every WATCH_MILLISECONDS.
WATCHING: dict[str, Any] = {"timeoutMS": None, "socketTimeoutMS": 2000, "maxPoolSize": 2}
WATCH_MILLISECONDS = 500
CLOSE_SECONDS = 1.0
DURABLE = WriteConcern(w="majority", j=True)
# Numbers need no wait of their own: the message that is stored after them waits for both.
IN_MEMORY = WriteConcern(w=1)
# What a majority has cannot be rolled back, so a number that was read keeps its message for ever.
MAJORITY = ReadConcern("majority")
UTC_TIMES: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)

REFUSALS = {13, 18}  # Unauthorized, AuthenticationFailed
DUPLICATE_KEY = 11000
LONG_AGO = datetime.fromtimestamp(0, UTC)
# Unnumbered documents have no `seq`, which sorts below every number.
NEWEST_FIRST = [("seq", -1), ("created_at", -1), ("_id", -1)]
COUNTER = {"_id": "messages"}


class _Connections(monitoring.ConnectionPoolListener):
    """Hears of each connection that is taken from the pool."""

    def __init__(self, waited: Callable[[float], None]) -> None:
        self._waited = waited

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self._waited(event.duration or 0.0)

    def _ignore(self, event: object) -> None:
        """What else happens to connections."""

    connection_check_out_failed = connection_check_out_started = connection_checked_in = _ignore
    connection_closed = connection_created = connection_ready = _ignore
    pool_cleared = pool_closed = pool_created = pool_ready = _ignore


class Store:
    """The collections `messages`, `counters` and `visits`. Belongs to the event loop it was made in.

    The two drivers, `motor` and `pymongo`, have the same methods for all that is done here. Unless
    `show_numbers`, the numbers of those who sent texts leave it masked: all that is read passes `_message`.
    `waited` is told how long each operation waited for a free connection, in seconds.
    """

    def __init__(
        self,
        mongodb_uri: str,
        database: str,
        driver: str = "motor",
        show_numbers: bool = False,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        client: Any = AsyncIOMotorClient if driver == "motor" else AsyncMongoClient
        try:
            given = {name.lower() for name in parse_uri(mongodb_uri)["options"]}
            ours: dict[str, Any] = {name: value for name, value in CONNECTION.items() if name.lower() not in given}
            self._client = client(mongodb_uri, event_listeners=[_Connections(waited)], **ours)
        except (errors.PyMongoError, ValueError, TypeError, OSError) as error:
            raise StoreUnavailable(f"the address cannot be used: {_first_line(error)}") from error
        self._watched = AsyncMongoClient(mongodb_uri, **(ours | WATCHING))
        # Tells this process's writes from those of others.
        self._worker = secrets.token_hex(4)
        self._name = database
        self._show_numbers = show_numbers
        self._database = self._client.get_database(
            database, codec_options=UTC_TIMES, write_concern=DURABLE, read_concern=MAJORITY
        )
        self._messages = self._database.messages
        self._counters = self._database.get_collection("counters", write_concern=IN_MEMORY)
        self._visits = self._database.visits

    async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
        documents = [self._document(write) for write in writes]
        outcomes: dict[int, Outcome] = {}
        left = list(range(len(documents)))
        with Phase("db"), _errors_translated():
            while left:
                first, now = await self._next_numbers(len(left), known_complete)
                for seq, index in enumerate(left, first):
                    documents[index] |= {"seq": seq, "created_at": now}
                refused = await self._insert([documents[index] for index in left])
                refusals = {index: refused.get(position) for position, index in enumerate(left)}
                # Who took so long that a reader made the number void takes another.
                left = [index for index, refusal in refusals.items() if _is_about("seq", refusal)]
                outcomes |= {
                    index: (self._message(documents[index]), False) for index in refusals if not refusals[index]
                }
                spare = {index: each for index, each in refusals.items() if each and index not in left}
                if spare:
                    await self.make_void([documents[index]["seq"] for index in spare])
                    outcomes |= await self._explained(documents, spare)
        return [outcomes[index] for index in range(len(documents))]

    async def get(self, id: str) -> Message | None:
        with Phase("db"), _errors_translated():
            document = await self._messages.find_one({"_id": ObjectId(id), "void": None})
        return None if document is None else self._message(document)

    async def before(self, position: Position, limit: int) -> list[Entry]:
        with Phase("db"), _errors_translated():
            below = await self._below(position)
            documents = await self._messages.find(below, sort=NEWEST_FIRST, limit=limit).to_list(limit)
        return [self._entry(document) for document in documents]

    async def after(self, seq: int, limit: int) -> list[Entry]:
        with Phase("db"), _errors_translated():
            found = self._messages.find({"seq": {"$gt": seq}}, sort=[("seq", 1)], limit=limit)
            return [self._entry(document) for document in await found.to_list(limit)]

    async def numbers_after(self, seq: int, limit: int) -> list[int]:
        with Phase("db"), _errors_translated():
            found = self._messages.find(
                {"seq": {"$gt": seq}}, {"_id": False, "seq": True}, sort=[("seq", 1)], limit=limit
            )
            return [document["seq"] for document in await found.to_list(limit)]

    async def replies(self, id: str, after: int, up_to: int, limit: int) -> list[Message]:
        of_message = {"reply_to": ObjectId(id), "seq": {"$gt": after, "$lte": up_to}}
        with Phase("db"), _errors_translated():
            documents = await self._messages.find(of_message, sort=[("seq", 1)], limit=limit).to_list(limit)
        return [self._message(document) for document in documents]

    async def first_since(self, since: datetime) -> int | None:
        with Phase("db"), _errors_translated():
            document = await self._messages.find_one(
                {"created_at": {"$gte": since}, "seq": {"$type": "number"}},
                {"_id": False, "seq": True},
                sort=[("created_at", 1), ("seq", 1)],
            )
        return None if document is None else int(document["seq"])

    async def make_void(self, numbers: Iterable[int]) -> None:
        with Phase("db"), _errors_translated():
            refused = await self._insert([{"seq": seq, "void": True} for seq in numbers])
        for refusal in refused.values():
            if not _is_about("seq", refusal):  # a number that is taken after all needs nothing more
                raise _failure(refusal)

    async def known_complete(self) -> int:
        with Phase("db"), _errors_translated():
            counter = await self._counters.find_one(COUNTER)
        return int(counter["complete"]) if counter else 0

    async def changes(self) -> AsyncGenerator[Entry | None]:
        messages = self._watched[self._name].get_collection("messages", codec_options=UTC_TIMES)
        with _errors_translated():
            watching = await messages.watch([{"$match": _news_for(self._worker)}], max_await_time_ms=WATCH_MILLISECONDS)
            async with watching as stream:
                while stream.alive:
                    change = await stream.try_next()
                    if change is not None and change["operationType"] != "insert":
                        break  # somebody works on the collection by hand
                    yield None if change is None else self._entry(change["fullDocument"])
        raise StoreUnavailable("messages were deleted: what is known of them has to be read again")

    async def add_visit(self) -> int:
        with Phase("db"), _errors_translated():
            await self._visits.insert_one({"at": datetime.now(UTC)})
            return int(await self._visits.estimated_document_count())

    async def data_version(self) -> int:
        with Phase("db"), _errors_translated():
            last = await self._database.migrations.find_one({}, {"_id": True}, sort=[("_id", -1)])
        return int(last["_id"].split("_")[0]) if last else 0

    async def ping(self) -> None:
        with Phase("db"), _errors_translated():
            await self._client.admin.command("ping")

    async def close(self) -> None:
        """Give back every connection."""
        watched = asyncio.create_task(self._watched.close())
        # It says goodbye, and a database that stands still does not answer.
        await asyncio.wait({watched}, timeout=CLOSE_SECONDS)
        await tasks.end(watched)
        closing = self._client.close()
        if inspect.isawaitable(closing):  # PyMongo's is, Motor's is not
            await closing

    def _document(self, write: Write) -> Document:
        new = write.new
        document: Document = {"text": new.text, "author": new.author, "source": write.source, "worker": self._worker}
        if new.reply_to is not None:
            document["reply_to"] = ObjectId(new.reply_to)
        if write.dedupe is not None:
            document |= {"dedupe": write.dedupe, "fingerprint": new.fingerprint()}
        return document

    async def _insert(self, documents: list[Document]) -> dict[int, Refusal]:
        """Insert what can be inserted; returns what MongoDB said of the others, by their places in the list."""
        try:
            await self._messages.insert_many(documents, ordered=False)
        except errors.BulkWriteError as error:
            if error.details["writeConcernErrors"]:
                raise
            return {each["index"]: each for each in error.details["writeErrors"]}
        return {}

    async def _next_numbers(self, count: int, known_complete: int) -> tuple[int, datetime]:
        """The first of `count` numbers that nobody else gets, and the database's time.

        Numbers follow each other, and time never goes back as they grow.
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

    async def _explained(self, documents: list[Document], refusals: dict[int, Refusal]) -> dict[int, Outcome]:
        """What became of the documents that were refused: most were stored before, under the same key."""
        keys = [documents[index].get("dedupe") for index in refusals]
        found = self._messages.find({"dedupe": {"$in": [key for key in keys if key is not None]}})
        stored = {document["dedupe"]: document for document in await found.to_list(len(keys))}
        outcomes: dict[int, Outcome] = {}
        for index, refusal in refusals.items():
            before = stored.get(documents[index].get("dedupe"))
            if before is None or not _is_about("dedupe", refusal):
                outcomes[index] = _failure(refusal)
            elif before["fingerprint"] != documents[index]["fingerprint"]:
                outcomes[index] = KeyReused(
                    "this idempotency key came with another message before: take a new key for each message"
                )
            else:
                outcomes[index] = self._message(before), True
        return outcomes

    async def _below(self, position: Position) -> Document:
        """The filter for what is below `position`."""
        if position.before_id is not None:
            id = ObjectId(position.before_id)
            document = await self._messages.find_one({"_id": id}, {"created_at": True}) or {}
            return _unnumbered_below(document.get("created_at"), id)
        numbered: Document = {}
        if position.before is not None:
            numbered["$lt"] = position.before
        if position.floor is not None:
            return {"seq": numbered | {"$gte": position.floor}}
        return {"$or": [{"seq": numbered}, {"seq": None}]} if numbered else {}

    def _entry(self, document: Document) -> Entry:
        return Void(document["seq"]) if document.get("void") else self._message(document)

    def _message(self, document: Document) -> Message:
        message = _message(document)
        if self._show_numbers or message.source != "sms":
            return message
        return replace(message, author=masked(message.author))


@contextmanager
def _errors_translated() -> Iterator[None]:
    """Raise the core's error for a database that does not answer. Other driver errors are bugs and stay."""
    try:
        yield
    except (errors.ConnectionFailure, errors.ConfigurationError, errors.InvalidURI) as error:
        raise StoreUnavailable(_first_line(error)) from error
    except errors.PyMongoError as error:
        refused = isinstance(error, errors.OperationFailure) and error.code in REFUSALS
        if not (error.timeout or refused or error.has_error_label("RetryableWriteError")):
            raise
        raise StoreUnavailable(_first_line(error)) from error


def _news_for(worker: str) -> Document:
    """The changes that `worker` has not made itself. Messages do not change once they have a number."""
    # `$ne` would say the same, but MongoDB would first make a change of each of our own messages. These conditions it
    # applies to its log, where what nobody wants costs half as much.
    others = [{"fullDocument.worker": each} for each in ({"$lt": worker}, {"$gt": worker}, None)]
    return {"operationType": {"$nin": ["update", "replace"]}, "$or": others}


def _is_about(field: str, refusal: Refusal | None) -> bool:
    """Whether a document was refused because another has the same value in `field`."""
    return refusal is not None and refusal["code"] == DUPLICATE_KEY and field in refusal["keyPattern"]


def _failure(refusal: Refusal) -> errors.WriteError:
    return errors.WriteError(refusal["errmsg"], refusal["code"], refusal)


def _first_line(error: Exception) -> str:
    return str(error).split(", Timeout:")[0].split(" (configured timeouts:")[0].splitlines()[0]


def _message(document: Document) -> Message:
    """Read a document of any version of the data model (see `migrations/versions`)."""
    reply_to = document.get("reply_to")
    return Message(
        id=str(document["_id"]),
        text=document["text"],
        author=document.get("author", "anonymous"),
        created_at=document.get("created_at") or _time_inside(document["_id"]),
        reply_to=None if reply_to is None else str(reply_to),
        source=document.get("source", "api"),
        seq=document.get("seq"),
    )


def _unnumbered_below(created_at: datetime | None, id: ObjectId) -> Document:
    """The filter for unnumbered documents that come after this one, newest first."""
    if created_at is None:
        return {"seq": None, "created_at": None, "_id": {"$lt": id}}
    same_time = {"created_at": created_at, "_id": {"$lt": id}}
    return {"seq": None, "$or": [{"created_at": {"$lt": created_at}}, same_time, {"created_at": None}]}


def _time_inside(id: Any) -> datetime:
    """When an ObjectId was made. Ids of other types hold no time, and sort as the oldest there are."""
    return id.generation_time if isinstance(id, ObjectId) else LONG_AGO
