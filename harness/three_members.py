"""A replica set of three mongods on this machine, for tests and experiments that need an election."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient

from harness.mongod import REPLICA_SET
from harness.throwaway import mongod_running

START_SECONDS = 60
# How long the others miss the primary before they elect another. MongoDB's default is 10 s: too long for a test.
ELECTION_MILLISECONDS = 1000


@dataclass(frozen=True)
class Member:
    """One mongod of the set."""

    address: str  # "host:port"
    process: psutil.Process


@dataclass(frozen=True)
class ThreeMembers:
    """A running replica set: the connection string that names all members, and each of them."""

    uri: str
    members: list[Member]

    def primary(self) -> Member:
        """The member that takes writes, once there is one. Raises pymongo's `ServerSelectionTimeoutError`."""
        with MongoClient[dict[str, Any]](self.uri) as client:
            client.admin.command("ping")
            address = "{}:{}".format(*(client.address or ("", 0)))
        return next(each for each in self.members if each.address == address)


@contextmanager
def three_members(folder: Path, *options: str, program: str | None = None) -> Iterator[ThreeMembers]:
    """A replica set of three mongods with `options`, in folders of their own in `folder`, while the block runs.

    All three have caught up when it begins. A test may stop, kill and step down each. Raises `MongodError`.
    """
    with ExitStack() as running:
        members = []
        for number in range(3):
            port, process = running.enter_context(mongod_running(folder / str(number), *options, program=program))
            members.append(Member(f"127.0.0.1:{port}", process))
        uri = f"mongodb://{','.join(each.address for each in members)}/?replicaSet={REPLICA_SET}"
        _configure(members)
        _wait_until_caught_up(uri, len(members))
        yield ThreeMembers(uri, members)


def _configure(members: list[Member]) -> None:
    hosts = [{"_id": number, "host": each.address} for number, each in enumerate(members)]
    config = {"_id": REPLICA_SET, "members": hosts, "settings": {"electionTimeoutMillis": ELECTION_MILLISECONDS}}
    with MongoClient[dict[str, Any]](f"mongodb://{members[0].address}/?directConnection=true") as client:
        client.admin.command("replSetInitiate", config)


def _wait_until_caught_up(uri: str, count: int) -> None:
    """Return when a write of the primary has reached `count` members. Raises `PyMongoError` after START_SECONDS."""
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=START_SECONDS * 1000) as client:
        client.admin.command("appendOplogNote", 1, data={"three members": "ready"}, writeConcern={"w": count})
