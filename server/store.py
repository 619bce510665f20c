"""MongoDB: the only file of the service that knows a driver."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import errors
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from server.messages import Message, NewMessage, StoreUnavailable
from server.telemetry import phase

Document = dict[str, Any]

# Waits are bounded so that a stalled database becomes a 503 instead of a hanging caller.
# What the connection string says is stronger.
CONNECTION = {"serverSelectionTimeoutMS": 2000, "timeoutMS": 10_000, "appname": "backend-lab"}
DURABLE = WriteConcern(w="majority", j=True)
UTC_TIMES: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
REFUSALS = {13, 18}  # Unauthorized, AuthenticationFailed
NOT_YET_INITIALIZED = 94
LONG_AGO = datetime.fromtimestamp(0, UTC)
NEWEST_FIRST = [("created_at", -1), ("_id", -1)]


class Store:
    """The collections `messages` and `visits`. Belongs to the event loop it was made in."""

    def __init__(self, mongodb_uri: str, database: str) -> None:
        with _errors_translated():
            given = parse_uri(mongodb_uri)["options"]
            ours: dict[str, Any] = {name: value for name, value in CONNECTION.items() if name not in given}
            self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(mongodb_uri, **ours)
        self._database = self._client.get_database(database, codec_options=UTC_TIMES, write_concern=DURABLE)
        self._messages = self._database.messages
        self._visits = self._database.visits

    async def add(self, new: NewMessage, created_at: datetime) -> Message:
        document: Document = {"text": new.text, "author": new.author, "created_at": created_at}
        with phase("db"), _errors_translated():
            await self._messages.insert_one(document)
        return _message(document)

    async def newest(self, limit: int) -> list[Message]:
        with phase("db"), _errors_translated():
            documents = await self._messages.find(sort=NEWEST_FIRST, limit=limit).to_list(limit)
        return [_message(document) for document in documents]

    async def add_visit(self, at: datetime) -> None:
        with phase("db"), _errors_translated():
            await self._visits.insert_one({"at": at})

    async def ping(self) -> None:
        with phase("db"), _errors_translated():
            await self._client.admin.command("ping")

    def close(self) -> None:
        """Give back every connection."""
        self._client.close()


async def start_replica_set(address: str, name: str) -> None:
    """Make the lone mongod at `address` ("host:port") the primary of a replica set of its own.

    It may carry the set of an earlier run on another port: then only the address is changed. Returns
    when it is primary. Raises `StoreUnavailable` when it does not get there.
    """
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        f"mongodb://{address}/?directConnection=true", serverSelectionTimeoutMS=30_000
    )
    member = {"_id": 0, "host": address}
    try:
        with _errors_translated():
            try:
                config = (await client.admin.command("replSetGetConfig"))["config"]
            except errors.OperationFailure as error:
                if error.code != NOT_YET_INITIALIZED:
                    raise
                await client.admin.command("replSetInitiate", {"_id": name, "members": [member]})
            else:
                if config["members"][0]["host"] != address:
                    config |= {"members": [member], "version": config["version"] + 1}
                    await client.admin.command("replSetReconfig", config, force=True)
        with _errors_translated():
            primary: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
                f"mongodb://{address}/?replicaSet={name}", serverSelectionTimeoutMS=30_000
            )
            try:
                await primary.admin.command("ping")
            finally:
                primary.close()
    finally:
        client.close()


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


def _first_line(error: Exception) -> str:
    return str(error).split(", Timeout:")[0].split(" (configured timeouts:")[0].splitlines()[0]


def _message(document: Document) -> Message:
    """Read a document of any version of the data model (see `migrations/versions`)."""
    return Message(
        id=str(document["_id"]),
        text=document["text"],
        author=document.get("author", "anonymous"),
        created_at=document.get("created_at") or _time_inside(document["_id"]),
    )


def _time_inside(id: Any) -> datetime:
    """When an ObjectId was made. Ids of other types hold no time, and sort as the oldest there are."""
    return id.generation_time if isinstance(id, ObjectId) else LONG_AGO
