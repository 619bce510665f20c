"""A replica set of several mongods, each of which can be killed, stopped, cut off and started again."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from harness import processes, throwaway
from harness.mongod import REPLICA_SET, MongodError, wait_for_port
from harness.ports import LOOPBACK, free_port
from harness.processes import Program
from harness.proxies import Proxies

COUNT = 3
# Short, so that an election takes about a second. What is not answered for so long counts as dead.
TIMING = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 250}
HEALTHY_SECONDS = 60.0
ANSWER_MILLISECONDS = 2000
POLL_SECONDS = 0.05

Result = TypeVar("Result")
Client = MongoClient[dict[str, Any]]


class Member:
    """One mongod, with its files in `folder`; others reach it at `address`, by a proxy if there are `proxies`."""

    def __init__(self, name: str, folder: Path, proxies: Proxies | None) -> None:
        self.name, self.folder, self.files = name, folder, folder / "mongod"
        self.port = free_port()
        self.address = f"{LOOPBACK}:{proxies.listen(name, self.port) if proxies else self.port}"
        self._proxies = proxies
        self._program: Program | None = None
        self._client: Client = MongoClient(
            f"mongodb://{LOOPBACK}:{self.port}/?directConnection=true", timeoutMS=ANSWER_MILLISECONDS
        )

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self._program is not None and self._program.is_running

    @property
    def process(self) -> psutil.Process:
        """The process, which must be running."""
        assert self._program is not None
        return psutil.Process(self._program.pid)

    def start(self) -> None:
        """Start the mongod unless it runs, and return when it listens. Raises `MongodError`."""
        if self.is_running:
            return
        self.files.mkdir(parents=True, exist_ok=True)
        command = throwaway.command_of(self.files, self.port, *throwaway.FAILPOINTS)
        self._program = processes.start(command, self.folder / "mongod.log")
        if self._proxies:
            self._proxies.know(self._program.pid, self.name)
        wait_for_port(self._program.process, self.port)

    def kill(self) -> None:
        """End it at once (SIGKILL), if it runs."""
        if self._program is not None:
            processes.kill(self._program)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Hold it while the block runs: it keeps its connections, and does nothing."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def command(self, name: str, value: Any = 1, **arguments: Any) -> dict[str, Any]:
        """Run an admin command. Raises `PyMongoError`."""
        return self._client.admin.command(name, value, **arguments)

    @contextlib.contextmanager
    def failing(self, failpoint: str) -> Iterator[None]:
        """Keep one of MongoDB's failpoints on while the block runs, or until the member ends. Raises `MongodError`."""
        self._set(failpoint, "alwaysOn")
        try:
            yield
        finally:
            self._set(failpoint, "off")

    def become_primary(self) -> None:
        """Ask for votes until it is primary. Raises `MongodError`."""

        def is_elected() -> bool | None:
            with contextlib.suppress(PyMongoError):  # it has no majority yet
                self.command("replSetStepUp")
            return True if self.state() == "primary" else None

        _wait(is_elected, f"{self.name} did not become primary")

    def state(self) -> str:
        """`primary`, `secondary`, or `neither`, also if it does not answer."""
        try:
            hello = self.command("hello")
        except PyMongoError:
            return "neither"
        return "primary" if hello["isWritablePrimary"] else "secondary" if hello["secondary"] else "neither"

    def close(self) -> None:
        """End it, and the connection to it."""
        self._client.close()
        if self._program is not None:
            self._signal(signal.SIGCONT)
            processes.stop(self._program, 0)

    def _set(self, failpoint: str, mode: str) -> None:
        """Set a failpoint, again and again: a member that is busy answers late. One that does not run has none."""

        def is_done() -> bool | None:
            try:
                self.command("configureFailPoint", failpoint, mode=mode)
            except PyMongoError:
                return None if self.is_running else True
            return True

        _wait(is_done, f"{self.name} did not set {failpoint}")

    def _signal(self, number: int) -> None:
        if self._program is not None and self._program.is_running:
            self._program.process.send_signal(number)


class ReplicaSet:
    """The members of a running replica set. `uri` names them all, by the addresses at which others reach them."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self.uri = f"mongodb://{','.join(each.address for each in members)}/?replicaSet={REPLICA_SET}"

    def primary(self) -> Member:
        """The member that is primary, as soon as there is one. Raises `MongodError`."""
        return _wait(
            lambda: next((each for each in self.members if each.state() == "primary"), None),
            "the replica set had no primary",
        )

    def secondaries(self) -> list[Member]:
        """All members but the primary."""
        primary = self.primary()
        return [each for each in self.members if each is not primary]

    def election(self) -> Any:
        """What distinguishes the election of the primary from all others; None without a primary."""
        try:
            return self.primary().command("hello").get("electionId")
        except PyMongoError:
            return None

    def wait_until_healthy(self) -> None:
        """Start the members that have ended; return when one is primary and the others follow it.

        Also those that end meanwhile: a mongod that has to roll back before its first checkpoint ends itself. Raises
        `MongodError`.
        """
        wanted = ["primary", *["secondary"] * (len(self.members) - 1)]

        def is_healthy() -> bool | None:
            for each in self.members:
                each.start()
            return sorted(each.state() for each in self.members) == wanted or None

        _wait(is_healthy, "the replica set did not recover")


@contextlib.contextmanager
def replica_set(folder: Path, proxies: Proxies | None = None, count: int = COUNT) -> Iterator[ReplicaSet]:
    """A replica set of `count` members, each behind one of `proxies`, while the block runs. Raises `MongodError`."""
    with contextlib.ExitStack() as stack:
        members = []
        for number in range(1, count + 1):
            member = Member(f"member {number}", folder / f"member{number}", proxies)
            stack.callback(member.close)
            member.start()
            members.append(member)
        hosts = [{"_id": number, "host": each.address} for number, each in enumerate(members)]
        with pymongo.timeout(HEALTHY_SECONDS):
            members[0].command("replSetInitiate", {"_id": REPLICA_SET, "members": hosts, "settings": TIMING})
        built = ReplicaSet(members)
        built.wait_until_healthy()
        yield built


def _wait(condition: Callable[[], Result | None], what: str) -> Result:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while (found := condition()) is None:
        if time.monotonic() > deadline:
            raise MongodError(f"{what} within {HEALTHY_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    return found
