"""A model of the database in memory, for tests of the order of messages that decide what happens at each turn.

The store itself is tested on a real MongoDB. Here every query takes effect at one moment, between two turns of the
event loop: what others do may happen before it and after it.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from server.messages import Entry, Message, NewMessage, Outcome, Position, Void, Write

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def message(seq: int | None, text: str = "x", reply_to: str | None = None, seconds: float | None = None) -> Message:
    """The message with this number, created so many `seconds` after BEGIN (`seq` of them if left out)."""
    created_at = BEGIN + timedelta(seconds=seconds if seconds is not None else seq or 0)
    return Message(f"{seq or 0:024x}", text, "anonymous", created_at, reply_to, seq=seq)


def unnumbered(count: int) -> list[Message]:
    """Messages that have no number yet, newest first."""
    return [
        Message(f"{0xA0 + each:024x}", "old", "anonymous", BEGIN - timedelta(days=1)) for each in reversed(range(count))
    ]


def new(text: str = "x") -> Write:
    """A write of a message."""
    return Write(NewMessage(text=text), "api", None)


def numbers(messages: Sequence[Message]) -> list[int | None]:
    """The sequence numbers of messages."""
    return [each.seq for each in messages]


async def turns(count: int = 1) -> None:
    """Let the event loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


class Memory:
    """The `Messages` that readers and writers need. `entries` are those with numbers; the others never change."""

    def __init__(self, old: Sequence[Message] = ()) -> None:
        self.entries: dict[int, Entry] = {}
        self.old = list(old)
        self.queries: list[str] = []  # the names of those that were made …
        self.limits: list[int] = []  # … and how many entries were asked for
        self._given_out = 0
        self._told_complete = 0

    def next_number(self) -> int:
        """A number that nobody else gets."""
        self._given_out += 1
        return self._given_out

    def store(self, *entries: Entry) -> bool:
        """Store entries whose numbers are free; returns whether all were."""
        stored = True
        for entry in entries:
            assert entry.seq is not None
            self._given_out = max(self._given_out, entry.seq)
            stored &= self.entries.setdefault(entry.seq, entry) is entry
        return stored

    async def _query(self, name: str, limit: int | None = None) -> None:
        self.queries.append(name)
        self.limits += [] if limit is None else [limit]
        await asyncio.sleep(0)

    async def add(self, writes: Sequence[Write], known_complete: int) -> list[Outcome]:
        await self._query("add")
        self._told_complete = max(self._told_complete, known_complete)
        stored = [message(self.next_number(), each.new.text, each.new.reply_to) for each in writes]
        await asyncio.sleep(0)
        self.store(*stored)
        return [(each, False) for each in stored]

    async def get(self, id: str) -> Message | None:
        await self._query("get")
        everything = [*self.old, *self.entries.values()]
        found = next((each for each in everything if isinstance(each, Message) and each.id == id), None)
        await asyncio.sleep(0)
        return found

    async def stored_under(self, dedupe: str) -> str | None:
        raise NotImplementedError

    async def before(self, position: Position, limit: int) -> list[Entry]:
        await self._query("before", limit)
        numbers = sorted(self.entries, reverse=True)
        if position.before is not None:
            numbers = [seq for seq in numbers if seq < position.before]
        if position.floor is not None:
            numbers = [seq for seq in numbers if seq >= position.floor]
        found: list[Entry] = [self.entries[seq] for seq in numbers]
        if position.before_id is not None:
            found = [each for each in self.old if each.id < position.before_id]
        elif position.floor is None:
            found += self.old
        elif position.since is not None:
            found += [each for each in self.old if each.created_at >= position.since]
        await asyncio.sleep(0)
        return found[:limit]

    async def after(self, seq: int, limit: int) -> list[Entry]:
        await self._query("after", limit)
        found = self._above(seq)[:limit]
        await asyncio.sleep(0)
        return found

    async def numbers_after(self, seq: int, limit: int) -> list[int]:
        await self._query("numbers_after", limit)
        found = [entry.seq for entry in self._above(seq)[:limit] if entry.seq is not None]
        await asyncio.sleep(0)
        return found

    async def replies(self, id: str, after: int, up_to: int, limit: int) -> list[Message]:
        await self._query("replies", limit)
        found = [
            each
            for each in self._above(after)
            if isinstance(each, Message) and each.reply_to == id and (each.seq or 0) <= up_to
        ]
        await asyncio.sleep(0)
        return found[:limit]

    async def first_since(self, since: datetime) -> int | None:
        await self._query("first_since")
        found = [
            each.seq
            for each in self.entries.values()
            if isinstance(each, Message) and each.created_at >= since and each.seq is not None
        ]
        await asyncio.sleep(0)
        return min(found, default=None)

    async def make_void(self, numbers: Iterable[int]) -> None:
        await self._query("make_void")
        for seq in numbers:
            self.store(Void(seq))
        await asyncio.sleep(0)

    async def known_complete(self) -> int:
        await self._query("known_complete")
        return self._told_complete

    async def changes(self) -> AsyncGenerator[Entry | None]:
        yield None
        await asyncio.Event().wait()

    async def add_visit(self) -> int:
        return 0

    async def data_version(self) -> int:
        return 0

    async def ping(self) -> None: ...

    def _above(self, seq: int) -> list[Entry]:
        return [self.entries[number] for number in sorted(self.entries) if number > seq]
