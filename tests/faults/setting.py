"""What faults are injected into: a replica set, two services on it, and clients that talk to both."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from harness import clock
from harness.members import COUNT, Member, ReplicaSet, replica_set
from harness.proxies import Proxies
from loadtests import service
from practice.outages import background
from practice.outages.background import Loop
from practice.outages.callers import Traffic
from practice.outages.history import Noted, Recorder
from practice.outages.stored import stored
from tests.faults.disks import small_disks
from tests.faults.services import WORKERS, Service

DATABASE = "faults"
NAMES = ("service a", "service b")
WRITERS, READERS, FOLLOWERS = 24, 4, 3


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
        self.loop.run(self.traffic.start(WRITERS, READERS, FOLLOWERS))

    def primary(self, dice: random.Random) -> Member:
        """The primary; if another fault leaves none, any member that runs."""
        running = [each for each in self.members.members if each.is_running]
        return next((each for each in running if each.state() == "primary"), None) or dice.choice(running)

    def secondaries(self) -> list[Member]:
        """The members that are secondaries, and say so."""
        return [each for each in self.members.members if each.is_running and each.state() == "secondary"]

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
        """Record what the database has in the end: read again if an election came between, as on a busy machine.

        Raises `PyMongoError`.
        """
        for is_last in (False, False, True):
            self.members.wait_until_healthy()
            try:
                self.recorder.add(stored(self.members.uri, DATABASE))
                break
            except PyMongoError:
                if is_last:
                    raise


@contextmanager
def setting(folder: Path, recorder: Recorder, seed: int, program: tuple[str, ...]) -> Iterator[Setting]:
    """Start all of it, with logs in `folder`, and end it all after the block. Raises `MongodError`, `ProgramError`."""
    with ExitStack() as stack:
        disks = [folder / f"member{number}" / "mongod" for number in range(1, COUNT + 1)]
        stack.enter_context(small_disks(disks))
        proxies = stack.enter_context(Proxies(folder / "proxies.log"))
        members = stack.enter_context(replica_set(folder, proxies))
        service.migrate(members.uri, DATABASE)
        services = []
        for name in NAMES:
            address: dict[str, Any] = {"mongodb_uri": members.uri, "database": DATABASE}
            services.append(Service(name, folder, program, proxies.know, workers=WORKERS, **address))
            stack.callback(services[-1].close)
            services[-1].start()
        yield Setting(proxies, members, services, recorder, stack.enter_context(background.loop()), seed)
