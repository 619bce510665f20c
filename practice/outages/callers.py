"""Clients that write, read and follow at several services at once, and record what they see.

Each is a session: it sends the highest `Lab-Seen` it was told, to whichever service it talks next. Writers send each
message with an idempotency key, again and again, until it is acknowledged.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from harness import clock
from practice.outages.connection import Answer, Connection, Unanswered
from practice.outages.history import ACKNOWLEDGED, Followed, Listed, Post, Recorder, Walked

LIMIT = 20
SINCE_LIMIT = 200
FOLLOW_LIMIT = 500
WALK_LIMIT = 1000
MOVE_SHARE = 0.1  # of the requests of a reader or follower that go to another service than its last
WRITE_PAUSE, READ_PAUSE = 0.02, 0.05
PATIENCE_SECONDS = 30.0
RETRY_PAUSE = 0.1  # at least, and up to three times as long


class Caller:
    """One session that talks to the services at `urls`, by their names, over a connection to each."""

    def __init__(self, name: str, urls: Mapping[str, str], recorder: Recorder, seed: int) -> None:
        self.name = name
        self.dice = random.Random(f"{seed} {name}")
        self.service = self.dice.choice(sorted(urls))
        self.seen = 0
        self.recorder = recorder
        self._connections = {name: _connection(url) for name, url in urls.items()}

    async def ask(
        self, method: str, target: str, body: Any = None, **headers: str
    ) -> tuple[dict[str, Any], Answer | None]:
        """Send a request to the current service; return what each record of it has, and the answer, if one came."""
        began, answer = clock.now(), None
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            answer = await self._connections[self.service].exchange(
                method, target, {"Lab-Seen": str(self.seen), **sent}, body
            )
            outcome = ACKNOWLEDGED if 200 <= answer.status < 300 else str(answer.status)
            self.seen = max(self.seen, int(answer.headers.get("lab-seen", "0")))
        except Unanswered as error:
            outcome = str(error)
        common = {"who": self.name, "service": self.service, "began": began, "ended": clock.now(), "outcome": outcome}
        return common, answer if outcome == ACKNOWLEDGED else None

    def move(self) -> None:
        """Talk to another service from now on."""
        self.service = self.dice.choice([name for name in self._connections if name != self.service] or [self.service])

    async def post_until_acknowledged(self, text: str, may_move: bool = True) -> Post:
        """Post a message again and again, probably each time to another service, until it is acknowledged."""
        while (acknowledged := await self.post(text)) is None:
            await self.pause(may_move)
        return acknowledged

    async def pause(self, may_move: bool = True) -> None:
        """Wait before the same request is sent again, probably to another service."""
        if may_move and self.dice.random() < 0.7:
            self.move()
        await asyncio.sleep(RETRY_PAUSE * self.dice.uniform(1, 3))

    def close(self) -> None:
        """Close its connections."""
        for connection in self._connections.values():
            connection.close()

    async def post(self, text: str) -> Post | None:
        """Post a message once; the record, if it was acknowledged."""
        common, answer = await self.ask("POST", "/messages", {"text": text}, Idempotency_Key=text)
        record = Post(**common, text=text)
        if answer is not None:
            replayed = answer.headers.get("idempotency-replayed") == "true"
            record = Post(**common, text=text, seq=answer.body["seq"], at=answer.body["created_at"], replayed=replayed)
        self.recorder.add(record)
        return None if answer is None else record

    async def read(self, since: str = "") -> None:
        """Read the newest messages once, or those since a time."""
        limit = SINCE_LIMIT if since else LIMIT
        seen = self.seen
        target = f"/messages?limit={limit}" + (f"&since={quote(since)}" if since else "")
        common, answer = await self.ask("GET", target)
        self.recorder.add(Listed(**common, limit=limit, seen=seen, since=since, shown=_texts(answer)))

    async def walk(
        self, since: str = "", cursor: str = "", below: int = 0, down_to: int = 0
    ) -> tuple[bool, list[tuple[int, str]]]:
        """Follow a list to its end, or to number `down_to`; return whether it was reached, and the pages' cursors.

        Each cursor comes with the number below which it continues. `cursor` continues one below `below`.
        """
        began, shown, cursors = clock.now(), [], []
        while True:
            target = f"/messages?limit={WALK_LIMIT}"
            target += (f"&since={quote(since)}" if since else "") + (f"&cursor={quote(cursor)}" if cursor else "")
            common, answer = await self.ask("GET", target)
            common["began"] = began
            shown += _texts(answer)
            oldest = answer.body["messages"][-1]["seq"] if answer and answer.body["messages"] else 0
            cursor = str(answer.body["next"] or "") if answer else ""
            if not cursor or oldest <= down_to:
                break
            cursors.append((oldest, cursor))
        self.recorder.add(Walked(**common, since=since, below=below, down_to=down_to, shown=shown))
        return answer is not None, cursors


class Traffic:
    """Writers, readers and followers at work until they are told to stop.

    `acknowledged` is how many messages they have posted. Their names, and so all texts, begin with `prefix`.
    """

    def __init__(self, urls: Mapping[str, str], recorder: Recorder, seed: int, prefix: str = "") -> None:
        self._urls, self._recorder, self._seed, self._prefix = urls, recorder, seed, prefix
        self.acknowledged = 0
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._recent: list[str] = []  # times of messages that were acknowledged lately

    async def start(self, writers: int, readers: int, followers: int) -> None:
        """Start so many of each."""
        works = [
            (self._write, "writer", writers),
            (self._read, "reader", readers),
            (self._follow, "follower", followers),
        ]
        for work, name, count in works:
            for number in range(1, count + 1):
                self._tasks.append(asyncio.create_task(work(self._caller(f"{name} {number}"))))

    async def stop(self) -> None:
        """Let all end: writers when their last message is acknowledged, followers when nothing more comes.

        Raises what one of them has raised.
        """
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def cancel(self) -> None:
        """End all at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def go_on(self, count: int, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until `count` more messages are acknowledged; whether they were, within `seconds`."""
        wanted = self.acknowledged + count
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.acknowledged < wanted:  # noqa: ASYNC110  an event for each message would cost more
                    await asyncio.sleep(WRITE_PAUSE)
        return self.acknowledged >= wanted

    def _caller(self, name: str) -> Caller:
        return Caller(self._prefix + name, self._urls, self._recorder, self._seed)

    async def _write(self, caller: Caller) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            acknowledged = await caller.post_until_acknowledged(f"{caller.name}: {number}")
            self.acknowledged += 1
            self._recent = [*self._recent[-100:], acknowledged.at]
            if caller.dice.random() < MOVE_SHARE:  # and reads at another service what it has just written
                caller.move()
                await caller.read()
            await asyncio.sleep(WRITE_PAUSE * caller.dice.uniform(0.5, 1.5))
        caller.close()

    async def _read(self, caller: Caller) -> None:
        while not self._stopping.is_set():
            if caller.dice.random() < MOVE_SHARE:
                caller.move()
            wants_since = self._recent and caller.dice.random() < 0.3
            await caller.read(caller.dice.choice(self._recent) if wants_since else "")
            await asyncio.sleep(READ_PAUSE * caller.dice.uniform(0.5, 1.5))
        caller.close()

    async def _follow(self, caller: Caller) -> None:
        cursor, is_last = "", False
        while not is_last:
            is_stopping = self._stopping.is_set()
            if caller.dice.random() < MOVE_SHARE:
                caller.move()
            target = f"/messages?limit={FOLLOW_LIMIT}&after={quote(cursor)}" if cursor else "/messages?limit=1"
            common, answer = await caller.ask("GET", target)
            if answer is None:
                await caller.pause()
                continue
            shown = _texts(answer)
            is_last = is_stopping and not shown
            if shown or not cursor or is_last:
                caller.recorder.add(Followed(**common, cursor=cursor, shown=shown))
            cursor = answer.body["newest"]
            await asyncio.sleep(READ_PAUSE)
        caller.close()


def _texts(answer: Answer | None) -> list[str]:
    return [] if answer is None else [each["text"] for each in answer.body["messages"]]


def _connection(url: str) -> Connection:
    parts = urlsplit(url)
    return Connection(parts.hostname or "", parts.port or 80)
