"""The servers that `make bench` compares: the lab's own service with given settings, and its peers."""

import functools
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pymongo import MongoClient

from harness.servers import direct_session
from loadtests import peers, service

MESSAGES = 1000  # in each database before anything is measured
# Named although they are the defaults: a LAB_ variable of the caller must not change what a row compares.
BEST: dict[str, Any] = {
    "cache": "tail",
    "writes": "grouped",
    "write_limit": "off",
    "client_limit": "off",
    "max_waiting": 1000,
    "fast_path": "on",
    "event_loop": "uvloop",
    "driver": "motor",
    "workers": 1,
}


@dataclass(frozen=True)
class Workspace:
    """The MongoDB that the servers of one row use, and the folders for their data and their logs."""

    mongodb_uri: str
    data: Path
    logs: Path

    @functools.cached_property
    def body(self) -> Path:
        """A file with the service's answer to GET /messages?limit=20; made at first use."""
        path = self.data / "body.json"
        with Service().running(self) as url:
            path.write_bytes(direct_session().get(f"{url}/messages", params={"limit": 20}, timeout=30).content)
        return path

    def log(self, name: str) -> Path:
        """The path of a new log file for the server `name`."""
        return self.logs / f"{name}-{secrets.token_hex(2)}.log"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the name of a new database, and drop it when the block ends."""
        name = f"bench_{secrets.token_hex(4)}"
        try:
            yield name
        finally:
            with MongoClient[dict[str, Any]](self.mongodb_uri) as client:
                client.drop_database(name)


class Server(Protocol):
    """A server with GET and POST /messages, whose database holds MESSAGES messages."""

    def running(self, workspace: Workspace) -> Any:
        """Context manager: run the server, and give its URL."""


@dataclass(frozen=True, eq=False)
class Service:
    """The lab's own message service: the BEST settings, overridden by `settings`."""

    settings: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def running(self, workspace: Workspace) -> Iterator[str]:
        settings = BEST | self.settings
        with workspace.database() as database:
            address = {"mongodb_uri": workspace.mongodb_uri, "database": database}
            service.migrate(**address)
            # By a server without limits and access keys: they would refuse most of it.
            with service.running(workspace.log("filling"), **address, **BEST) as plain:
                _fill(plain.url)
            with service.running(workspace.log("service"), **address, **settings) as server:
                yield server.url


@dataclass(frozen=True, eq=False)
class Peer:
    """The same API as another tutorial would write it: one of `loadtests.peers`."""

    name: str

    @contextmanager
    def running(self, workspace: Workspace) -> Iterator[str]:
        with workspace.database() as database:
            environment = {
                "MONGODB_URL": workspace.mongodb_uri,
                "MONGODB_DATABASE": database,
                "DATABASE": str(workspace.data / f"{database}.sqlite"),
            }
            if self.name.endswith("constant"):
                environment["BODY"] = str(workspace.body)
            with peers.running(self.name, workspace.log(self.name), environment) as url:
                if not self.name.endswith("constant"):
                    _fill(url)
                yield url


def _fill(url: str) -> None:
    def send(number: int) -> None:
        text = f"Message {number}, here before the measuring began: lunch at the usual place, or at the new one?"
        session.post(f"{url}/messages", json={"text": text, "author": "bench"}, timeout=30).raise_for_status()

    with direct_session() as session, ThreadPoolExecutor(8) as callers:
        list(callers.map(send, range(1, MESSAGES + 1)))
