"""The core: what a message is, and what can be done with messages. Knows no HTTP and no database.

MessageError
├── Invalid              what was given is no message, or no command
├── NoSuchMessage        nothing has that id
├── UnknownReply         the message that is answered does not exist
├── KeyReused            an idempotency key came back with another message
├── OverLimit            a rate limit was exceeded
├── Overloaded           too many writes are waiting already
└── StoreUnavailable     the database does not answer
    └── StoreRefused     the database answers, and refuses until somebody has changed something
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_TEXT = 4000
MAX_AUTHOR = 80
MAX_LIMIT = 1000
DEFAULT_LIMIT = 20
MAX_REPLIES = 100
READY_SECONDS = 1.0
ID_PATTERN = "^[0-9a-fA-F]{24}$"

Source = Literal["api", "sms", "slack"]


class MessageError(Exception):
    """Anything this service refuses or cannot do."""


class Invalid(MessageError):
    """What a caller gave is not valid. `errors` are pairs of a field and what to do about it."""

    def __init__(self, detail: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class NoSuchMessage(MessageError):
    """Nothing has that id."""


class UnknownReply(MessageError):
    """`reply_to` names no message."""


class KeyReused(MessageError):
    """An idempotency key was used before, for another message."""


class Quota(NamedTuple):
    """What a caller may do: `amount` in each window of `window` seconds, `remaining` now, more in `reset` seconds."""

    name: str
    amount: int
    window: int
    remaining: int
    reset: int


class OverLimit(MessageError):
    """More than the quota was asked for."""

    def __init__(self, detail: str, quota: Quota) -> None:
        super().__init__(detail)
        self.quota = quota


class Overloaded(MessageError):
    """So many writes wait for the database that one more would only wait longer. Nothing was stored."""


class StoreUnavailable(MessageError):
    """The database did not answer. Nothing is known to be lost: ask again."""


class StoreRefused(StoreUnavailable):
    """The database refused. To ask again does not help before somebody has done what the text says."""


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank: give it at least one character that shows")
    return value


# The pattern says the same to those who read the schema.
NotBlank = (AfterValidator(_not_blank), Field(json_schema_extra={"pattern": r"\S"}))


class NewMessage(BaseModel):
    """A message as somebody asks for it to be stored. Its text is kept exactly as sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT), *NotBlank]
    author: Annotated[str, Field(min_length=1, max_length=MAX_AUTHOR), *NotBlank] = "anonymous"
    reply_to: Annotated[str, Field(pattern=ID_PATTERN)] | None = None

    def fingerprint(self) -> str:
        """A digest (32 hex digits) that equal messages share, to recognise a repeated request."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message. `created_at` is UTC with milliseconds; `id` is 24 hex digits.

    `seq` numbers messages in the order in which they were stored; None only for one that is older than
    the numbering and has not been given its number yet (migration 0005).
    """

    id: str
    text: str
    author: str
    created_at: datetime
    reply_to: str | None = None
    source: Source = "api"
    seq: int | None = None


# A number, with the channel that it came by, as in whatsapp:+15005550006; and one among letters, as in WhatsApp's ids.
_NUMBER = re.compile(r"(?:[a-z]+:)?\+?[\d\s().-]+")
_LONG_NUMBER = re.compile(r"\d{7,}")


def masked(sender: str) -> str:
    """Hide all but the last digits of a phone number, so that only those who know it can recognise it.

    A name is left as it is, also one with digits, such as Bank24h7.
    """
    return _mask(sender) if _NUMBER.fullmatch(sender) else _LONG_NUMBER.sub(lambda found: _mask(found[0]), sender)


def _mask(number: str) -> str:
    digits = sum(each.isdecimal() for each in number)
    hidden = digits - (4 if digits > 7 else 1)
    return re.sub(r"\d", "\N{BULLET}", number, count=hidden) if hidden > 0 else number


@dataclass(frozen=True, slots=True)
class Write:
    """A message to be stored. Of all writes with one `dedupe` key, one is stored."""

    new: NewMessage
    source: Source
    dedupe: str | None


# The result of a write: the message, and whether it had been stored before; or the error to raise.
Outcome = tuple[Message, bool] | Exception


@dataclass(frozen=True, slots=True)
class Void:
    """What stands among the messages and is none: a number that none will ever have, or a document that is odd.

    A number has no message if its writer died or stored nothing. `id` is the document's, where it has no number.
    `place` is what an odd document has in place of a whole number, such as 2.5: the store orders it by that.
    """

    seq: int | None
    id: str = ""
    place: Any = None


Entry = Message | Void


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: below the number `before`, or below the unnumbered message `before_id`.

    `floor` is the lowest number to include, or None for no bound. With one, only those unnumbered messages are
    included that were created at or after `since`. While old messages are being numbered, the `floor` of a time falls:
    so the next page has the time, and its floor is found anew. `before` is an entry's `place` if that has no number.
    """

    before: Any = None
    before_id: str | None = None
    floor: int | None = None
    since: datetime | None = None

    def at(self, place: Any) -> "Position":
        """The same bounds, below the number or place of an entry."""
        return replace(self, before=place, before_id=None)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, the position of the next page (None at the end), and how far the list is complete.

    Every number up to `up_to` belongs to a stored message or is void, so a reader who continues after `up_to` sees
    every other message exactly once.
    """

    messages: list[Message]
    next: Position | None
    up_to: int

    def first(self, limit: int) -> "Page":
        """This page, shortened to its first `limit` messages."""
        if len(self.messages) <= limit:
            return self
        last = self.messages[limit - 1]
        below = Position(before_id=last.id) if last.seq is None else Position(before=last.seq)
        return Page(self.messages[:limit], below, self.up_to)


class Messages(Protocol):
    """The repository of messages. Every method raises `StoreUnavailable` when the database does not do it."""

    async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
        """Store messages durably under the next sequence numbers; return one outcome for each write.

        Of several writes with the same `dedupe` key, the first stores its message; the others get that message, or
        `KeyReused` if theirs differs. `known_complete` is stored for processes that start later.
        """

    async def get(self, id: str) -> Message | None:
        """The message with that id, or None."""

    async def stored_under(self, dedupe: str) -> str | None:
        """The id of the message that was stored with that `dedupe` key, or None."""

    async def before(self, position: Position, limit: int) -> list[Entry]:
        """The `limit` entries below `position`, highest number first, the unnumbered ones last."""

    async def after(self, seq: Any, limit: int) -> list[Entry]:
        """The `limit` entries above `seq`, a number or the `place` of an entry, lowest number first."""

    async def numbers_after(self, seq: int, limit: int) -> list[int]:
        """The sequence numbers of the `limit` entries above `seq`, lowest first."""

    async def replies(self, id: str, after: int, up_to: int, limit: int) -> list[Message]:
        """The `limit` first replies to a message that are numbered above `after`, and not above `up_to`."""

    async def first_since(self, since: datetime) -> int | None:
        """The lowest number of a message created at or after `since`, or None.

        While older messages of that time are being numbered it is lower, by more than are numbered in a moment.
        """

    async def make_void(self, numbers: Sequence[int]) -> None:
        """Mark those of `numbers` that have no entry yet as void, so that no message can take them any more."""

    async def known_complete(self) -> int:
        """The highest `known_complete` that `add` was ever given; 0 in a new database."""

    def changes(self) -> AsyncGenerator[Entry | None]:
        """Entries that other processes store, as a stream; None now and then while there are none.

        No entry stored after the first item was yielded is left out. Ends only by raising `StoreUnavailable`.
        """

    async def add_visit(self) -> int:
        """Store a visit to the front page; return how many are stored."""

    async def data_version(self) -> int:
        """The number of the last migration applied to the database; 0 if none was."""

    async def ping(self) -> None:
        """Return if the database answers."""


class Reader(Protocol):
    """Reads of the most recent messages: a cache, or the database itself."""

    async def recent(self, limit: int, seen: int) -> Page:
        """The `limit` newest messages, newest first, from a state that includes number `seen`."""

    def cached(self, limit: int, seen: int) -> Page | None:
        """Return the cached page, or None. The object's identity is stable until the cache is invalidated."""

    def note_stored(self, message: Message) -> None:
        """Update the cache: this process has stored `message`."""

    async def warm_up(self) -> None:
        """Return when the first reads can be answered from memory; at once if there is no cache to fill."""

    async def run(self) -> None:
        """Keep the cache current for as long as the service runs; return at once if nothing has to be done."""


class Writer(Protocol):
    """The way into the store. `waiting` is the number of writes that wait for the database now."""

    waiting: int

    async def add(self, write: Write, known_complete: int) -> tuple[Message, bool]:
        """Store a message durably; return it, and whether it had been stored before."""


class PagedReads(Protocol):
    """Gap-free paged reads in `seq` order. `complete` is the number below which none is missing."""

    complete: int

    async def page(self, position: Position, limit: int, complete: int | None = None) -> Page:
        """The `limit` messages below `position`, newest first, none above `complete`: what it is now, if left out."""

    async def floor(self, since: datetime) -> int | None:
        """The lowest number of a message created at or after `since`, or None."""

    async def after(self, seq: int, limit: int, ceiling: int) -> Page:
        """The `limit` messages that follow number `seq` and are below `ceiling`, oldest first."""

    async def replies(self, id: str, after: int, limit: int) -> Page:
        """The `limit` replies to a message that follow number `after`, oldest first."""

    async def catch_up(self, seen: int) -> None:
        """Extend `complete` to what is stored; return when it includes number `seen`."""


class MessageService:
    """What can be done with messages. HTTP, SMS and Slack all enter here.

    Reads take `seen`, the highest number that the caller has met: what they return includes it.
    """

    def __init__(self, messages: Messages, paged: PagedReads, reader: Reader, writer: Writer) -> None:
        self._messages = messages
        self._paged = paged
        self._reader = reader
        self._writer = writer

    @property
    def waiting(self) -> int:
        """How many writes wait for the database."""
        return self._writer.waiting

    @property
    def complete(self) -> int:
        """The sequence number up to which this process knows of all messages."""
        return self._paged.complete

    async def post(self, new: NewMessage, source: Source = "api", dedupe: str | None = None) -> tuple[Message, bool]:
        """Store a message durably; return it, and whether it had been stored before.

        Posts with the same `dedupe` key store one message, and all return it. Raises `UnknownReply`,
        and `KeyReused` if the key came with another message before.
        """
        if new.reply_to is not None and await self._messages.get(new.reply_to) is None:
            raise UnknownReply(f"there is no message {new.reply_to} to reply to")
        message, replayed = await self._writer.add(Write(new, source, dedupe), self._paged.complete)
        if not replayed:
            self._reader.note_stored(message)
        return message, replayed

    async def recent(self, limit: int = DEFAULT_LIMIT, seen: int = 0) -> Page:
        """The most recent `limit` messages, newest first."""
        return await self._reader.recent(limit, seen)

    def recent_cached(self, limit: int = DEFAULT_LIMIT, seen: int = 0) -> Page | None:
        """What `recent` returns if it is cached, else None. The object's identity is stable until a change."""
        return self._reader.cached(limit, seen)

    async def older(self, position: Position, limit: int = DEFAULT_LIMIT, seen: int = 0) -> Page:
        """The `limit` messages below a page's `next`, newest first."""
        if position.since is not None:
            return await self.since(position.since, limit, seen, position)
        if self._paged.complete < seen:
            await self._paged.catch_up(seen)
        return await self._paged.page(position, limit)

    async def since(
        self, since: datetime, limit: int = DEFAULT_LIMIT, seen: int = 0, below: Position | None = None
    ) -> Page:
        """The `limit` newest messages created at or after `since`, newest first; or those `below` a page's `next`."""
        await self._paged.catch_up(seen)
        complete = self._paged.complete  # read before the floor is: what is stored meanwhile may lie below that
        below = below or Position()
        since = max(since, below.since or since)
        since = since.replace(microsecond=since.microsecond // 1000 * 1000)  # as precise as stored times are
        floor = await self._paged.floor(since)
        if floor is None:
            floor = complete + 1  # then there are unnumbered messages at most
        if below.floor is not None and below.since is None:
            floor = max(floor, below.floor)
        return await self._paged.page(replace(below, floor=floor, since=since), limit, complete)

    async def after(
        self,
        seq: int,
        limit: int = DEFAULT_LIMIT,
        seen: int = 0,
        since: datetime | None = None,
        below: Position | None = None,
    ) -> Page:
        """The `limit` messages that follow a page's `up_to`, oldest first; only those `since` and `below`, if given."""
        await self._paged.catch_up(seen)
        complete = self._paged.complete  # before the floor, as in `since`
        if since is not None:
            floor = await self._paged.floor(since)
            if floor is None:
                return Page([], None, seq)
            seq = max(seq, min(floor - 1, complete))
        ceiling = complete + 1 if below is None else min(complete + 1, below.before or 0)
        return await self._paged.after(seq, limit, ceiling)

    async def get(self, id: str) -> Message:
        """The message with that id. Raises `NoSuchMessage`."""
        message = await self._messages.get(id)
        if message is None:
            raise NoSuchMessage(f"there is no message {id}")
        return message

    async def stored_under(self, dedupe: str) -> str | None:
        """The id of the message that was posted with that `dedupe` key, or None."""
        return await self._messages.stored_under(dedupe)

    async def replies(self, id: str, after: int = 0, limit: int = MAX_REPLIES, seen: int = 0) -> Page:
        """The `limit` direct replies to a message that follow number `after`, oldest first."""
        await self._paged.catch_up(seen)
        return await self._paged.replies(id, after, limit)

    async def visit(self) -> int:
        """Store a visit to the front page; return how many are stored, this one included."""
        return await self._messages.add_visit()

    async def check(self) -> int:
        """The data version of the database. Raises `StoreUnavailable` if it takes longer than READY_SECONDS."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._messages.ping()
                return await self._messages.data_version()
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {READY_SECONDS:g} s") from error
