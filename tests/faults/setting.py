"""What faults are injected into: a replica set, two services on it, and clients that talk to both."""

import asyncio
import random
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from pymongo import MongoClient
from pymongo.database import Database as PymongoDatabase

from harness import clock
from harness.members import COUNT, Member, ReplicaSet, replica_set
from harness.proxies import Proxies
from loadtests import service
from practice.outages.callers import Traffic
from practice.outages.history import Noted, Recorder, Stored
from tests.faults.disks import small_disks
from tests.faults.services import WORKERS, Service

Result = TypeVar("Result")
Database = PymongoDatabase[dict[str, Any]]

DATABASE = "faults"
NAMES = ("service a", "service b")
WRITERS, READERS, FOLLOWERS = 24, 4, 3
ORDER = [("seq", 1)]


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: "Coroutine[Any, Any, Result]") -> Result:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Cancel what still runs, and end the thread."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Setting:
    """A replica set, services on it, and what is recorded of them. `killed` names the services that were killed."""

    def __init__(
        self, proxies: Proxies, members: ReplicaSet, services: list[Service], recorder: Recorder, loop: Loop, seed: int
    ) -> None:
        self.proxies, self.members, self.services = proxies, members, services
        self.recorder, self.loop, self.seed = recorder, loop, seed
        self.killed: set[str] = set()
        self.urls = {each.name: each.url for each in services}
        self.traffic = Traffic(self.urls, recorder, seed)

    def start_traffic(self) -> None:
        """Let all clients begin."""
        self.loop.run(started(self.traffic, WRITERS, READERS, FOLLOWERS))

    def primary(self, dice: random.Random) -> Member:
        """The primary; if another fault leaves none, any member that runs."""
        running = [each for each in self.members.members if each.is_running]
        return next((each for each in running if each.state() == "primary"), None) or dice.choice(running)

    def secondaries(self, dice: random.Random) -> list[Member]:
        """The members that run, but the primary."""
        primary = self.primary(dice)
        return [each for each in self.members.members if each.is_running and each is not primary]

    def between_members(self, one: Member) -> list[tuple[str, str]]:
        """The pairs of `one` and each other member."""
        others = [each.name for each in self.members.members if each is not one]
        return [pair for other in others for pair in ((one.name, other), (other, one.name))]

    def from_services(self, *members: Member) -> list[tuple[str, str]]:
        """The pairs of each service and each of `members`."""
        return [(each.name, member.name) for each in self.services for member in members]

    def note(self, kind: str, text: str) -> None:
        """Record what must not be."""
        self.recorder.add(Noted(kind, clock.now(), text))

    def record_stored(self) -> None:
        """Record what the database has in the end."""
        with MongoClient[dict[str, Any]](self.members.uri) as client:
            self.recorder.add(Stored(rows_of(client[DATABASE])))


@contextmanager
def setting(folder: Path, recorder: Recorder, seed: int, program: tuple[str, ...]) -> Iterator[Setting]:
    """Start all of it, with logs in `folder`, and end it all after the block. Raises `MongodError`, `ProgramError`."""
    with ExitStack() as stack:
        disks = [folder / f"member{number}" / "mongod" for number in range(1, COUNT + 1)]
        stack.enter_context(small_disks(disks))
        proxies = stack.enter_context(Proxies())
        members = stack.enter_context(replica_set(folder, proxies))
        service.migrate(members.uri, DATABASE)
        services = []
        for name in NAMES:
            address: dict[str, Any] = {"mongodb_uri": members.uri, "database": DATABASE}
            services.append(Service(name, folder, program, proxies.know, workers=WORKERS, **address))
            stack.callback(services[-1].close)
            services[-1].start()
        loop = Loop()
        stack.callback(loop.close)
        yield Setting(proxies, members, services, recorder, loop, seed)


def rows_of(database: Database) -> list[tuple[str, int, str]]:
    """All messages in a database, as a history has them."""
    found = database.messages.find({"void": None}, sort=ORDER)
    return [(each["text"], each["seq"], _time(each["created_at"])) for each in found]


def _time(at: Any) -> str:
    """A time as the service writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


async def started(traffic: Traffic, writers: int, readers: int, followers: int) -> None:
    """Let so many clients begin."""
    traffic.start(writers, readers, followers)


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
