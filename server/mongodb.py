"""MongoDB's drivers as the store uses them: operations that are bounded and repeated, and errors in the core's terms.

What MongoDB reports is one of three kinds. It passes (another primary was elected, a cursor was lost): the operation
is repeated. It may pass later (no primary, no answer in time): `StoreUnavailable`. It will not pass until somebody
changes something (no privilege, no disk space): `StoreRefused`, which says what to change.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import errors
from pymongo.server_description import ServerDescription

from server.messages import StoreRefused, StoreUnavailable
from server.phases import DATABASE, Phase

DRIVER_ERRORS = (errors.PyMongoError, BSONError)
DRIVER_LOGGER = "pymongo.client"

DUPLICATE_KEY = 11000
# Codes of MongoDB's error_codes.yml after which the same operation may succeed at once.
PASSING = {
    24: "LockTimeout",
    43: "CursorNotFound",
    46: "LockBusy",
    91: "ShutdownInProgress",
    112: "WriteConflict",
    117: "ConflictingOperationInProgress",
    134: "ReadConcernMajorityNotAvailableYet",
    136: "CappedPositionLost",
    175: "QueryPlanKilled",
    189: "PrimarySteppedDown",
    237: "CursorKilled",
    239: "SnapshotTooOld",
    246: "SnapshotUnavailable",
    365: "TemporarilyUnavailable",
    6: "HostUnreachable",
    7: "HostNotFound",
    89: "NetworkTimeout",
    9001: "SocketException",
    10107: "NotWritablePrimary",
    11600: "InterruptedAtShutdown",
    11601: "Interrupted",
    11602: "InterruptedDueToReplStateChange",
    13435: "NotPrimaryNoSecondaryOk",
    13436: "NotPrimaryOrSecondary",
    # Two processes that create the counter at once: one of them finds it there.
    DUPLICATE_KEY: "DuplicateKey",
}
# Codes after which it may succeed later: these are no reason to ask somebody for help.
LATER = {
    50: "MaxTimeMSExpired",
    64: "WriteConcernFailed",
    100: "UnsatisfiableWriteConcern",
    133: "FailedToSatisfyReadPreference",
    202: "NetworkInterfaceExceededTimeLimit",
    262: "ExceededTimeLimit",
    290: "TransactionExceededLifetimeLimitSeconds",
}
# Codes after which it succeeds only when somebody has done this.
CURES = {
    13: "give the user of the MongoDB URI the role readWrite on this database",
    18: "correct the user, the password or authSource in the MongoDB URI",
    20: "use a replica set: the service needs one",
    79: "correct the write concern, or the members' settings of the replica set",
    121: "a validator that is not the service's refuses its documents: see python -m migrations plan",
    166: "a view has the name of a collection of the service: see python -m migrations plan",
    10334: "make the document smaller: MongoDB takes 16 MB at most",
    14031: "free disk space for MongoDB",
    40573: "use a replica set: the service needs one",
    DUPLICATE_KEY: "drop the unique index that is not the service's: see python -m migrations plan",
}
# The primary of those who cannot tell one from another: they have one server, or a mongos, which knows.
ANY = object()
PAUSES = (0.01, 0.04, 0.16)  # seconds before each repetition

P = ParamSpec("P")
T = TypeVar("T")


class Operating(Protocol):
    """An object with methods that are operations of the database.

    `seconds` is the longest time that one of them takes, None for no bound. `primary` is the one whose answers are
    known to include all that was acknowledged before it was elected, None if none is.
    """

    seconds: float | None
    primary: object

    async def commit_nothing(self) -> None:
        """Return when the primary has replicated something to a majority."""


B = TypeVar("B", bound=Operating)


def read(
    method: Callable[Concatenate[B, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[B, P], Coroutine[Any, Any, T]]:
    """Decorate a coroutine method that reads: its result includes all that was acknowledged before it began.

    A primary knows only what was replicated to a majority while it was a secondary, and that a little late. Until it
    has replicated something itself, it may leave out what the last primary acknowledged: so nothing is read before.
    """

    @functools.wraps(method)
    async def current(self: B, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with one_primary() as pin:
            if self.primary is None:
                await self.commit_nothing()
                self.primary = pin.primary or ANY
            result = await method(self, *args, **kwargs)
            if pin.primary is not None and pin.primary != self.primary:
                self.primary = None
                raise PrimaryChanged("another primary was elected")
            return result

    return operation(current)


def operation(
    method: Callable[Concatenate[B, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[B, P], Coroutine[Any, Any, T]]:
    """Decorate a coroutine method as one operation of the database. It has to be safe to repeat.

    It is repeated after errors that pass, ends within the `seconds` of its object, and raises `StoreUnavailable`. Its
    time counts as the phase DATABASE.
    """

    @functools.wraps(method)
    async def bounded(self: B, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with Phase(DATABASE), pymongo.timeout(self.seconds):
            for pause in PAUSES:
                try:
                    return await method(self, *args, **kwargs)
                except DRIVER_ERRORS as error:
                    if not passes(error):
                        raise unavailable(error) from error
                await asyncio.sleep(pause)
            with translated():
                return await method(self, *args, **kwargs)

    return bounded


@contextmanager
def translated() -> Iterator[None]:
    """Raise the driver's errors of the block as `StoreUnavailable`."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> StoreUnavailable:
    """The core's error for a driver's error. It holds no part of a document, since callers are shown it."""
    code = _code(error)
    if isinstance(error, errors.ConnectionFailure) or code in LATER or (code in PASSING and code != DUPLICATE_KEY):
        return StoreUnavailable(first_line(error))
    if getattr(error, "timeout", False):
        return StoreUnavailable(first_line(error))
    if isinstance(error, errors.ConfigurationError | errors.InvalidURI):
        return StoreRefused(f"{first_line(error)}: correct the MongoDB URI")
    if code in CURES:
        return StoreRefused(f"{first_line(error)}: {CURES[code]}")
    logging.error("MongoDB refused an operation", exc_info=error)
    return StoreRefused("MongoDB refused an operation: the service's log says why")


def first_line(error: Exception) -> str:
    """The error's text, without the documents and the settings that drivers and MongoDB append to it."""
    text = str(error)
    for appended in (", full error: ", ", Timeout:", " (configured timeouts:", " dup key: "):
        text = text.split(appended, maxsplit=1)[0]
    return text.splitlines()[0] if text else type(error).__name__


class OneLine(logging.Filter):
    """For the driver's logger: that no server was reached is one line, as the driver itself asks again."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten `record`; always true."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, errors.ConnectionFailure):
            record.msg, record.args, record.exc_info = f"{record.getMessage()} {first_line(error)}", None, None
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True


def passes(error: Exception) -> bool:
    """Whether the operation may succeed if it is repeated at once."""
    if getattr(error, "timeout", False):
        return False
    return isinstance(error, errors.AutoReconnect) or _code(error) in PASSING


def _code(error: Exception) -> int | None:
    code: int | None = getattr(error, "code", None)
    return code


class _Pin:
    """The primary that the first operation of a block used, once it has."""

    __slots__ = ("primary",)

    def __init__(self) -> None:
        self.primary: tuple[Any, Any] | None = None


_pin: ContextVar[_Pin | None] = ContextVar("pin", default=None)


class PrimaryChanged(errors.AutoReconnect):
    """Another primary was elected within a block of `one_primary`."""


@contextmanager
def one_primary() -> Iterator[_Pin]:
    """Let all operations of the block run on one primary: those after an election raise `PrimaryChanged`.

    The client must have `same_primary` as its `server_selector`, and no `retryWrites`: a driver repeats a write on
    whichever primary there is then.
    """
    pin = _Pin()
    token = _pin.set(pin)
    try:
        yield pin
    finally:
        _pin.reset(token)


def same_primary(servers: list[ServerDescription]) -> list[ServerDescription]:
    """A `server_selector` for MongoClient that keeps the promise of `one_primary`. It changes nothing elsewhere.

    A server that was elected again is another primary: it may have lost what it had not replicated.
    """
    pin = _pin.get()
    if pin is None or len(servers) != 1:  # several are mongos, which know the primary themselves
        return servers
    primary = servers[0].address, servers[0].election_id
    if pin.primary is None:
        pin.primary = primary
    elif pin.primary != primary:
        raise PrimaryChanged("another primary was elected meanwhile")
    return servers
