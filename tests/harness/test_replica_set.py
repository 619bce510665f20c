"""A mongod becomes a replica set of one, also when it is asked while it still loads its last configuration.

The moments of a start that are hard to meet are made by MongoDB's own failpoint `failCommand`, once each.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from harness import mongod, processes
from harness.ports import accepts_connections, free_port
from harness.replica_set import NOT_YET_INITIALIZED, start_replica_set
from tests.waiting import eventually


@pytest.fixture
def address(data_dir: Path) -> Iterator[str]:
    """A mongod with the replica set "lab" still to be configured, which accepts failpoints."""
    port = free_port()
    data_dir.mkdir()
    command = [
        *(mongod.find(), "--replSet", "lab", "--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"),
        *("--dbpath", data_dir, "--setParameter", "enableTestCommands=1", "--wiredTigerCacheSizeGB", "0.25"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: accepts_connections(port))
        yield f"127.0.0.1:{port}"
    finally:
        processes.end(process, 60)


def fail_once(address: str, command: str, how: dict[str, Any]) -> None:
    with MongoClient(f"mongodb://{address}/?directConnection=true") as client:
        client.admin.command(
            {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": {"failCommands": [command], **how}}
        )


def is_primary(address: str) -> bool:
    with MongoClient(f"mongodb://{address}/?directConnection=true") as client:
        return bool(client.admin.command("hello")["isWritablePrimary"])


@pytest.mark.parametrize("command", ["replSetGetConfig", "replSetInitiate", "ping"])
def test_a_connection_that_mongod_closes_is_no_end(address: str, command: str) -> None:
    fail_once(address, command, {"closeConnection": True})
    start_replica_set(address, "lab")
    assert is_primary(address)


def test_a_configuration_that_is_loaded_a_moment_later_is_no_end(address: str) -> None:
    start_replica_set(address, "lab")
    fail_once(address, "replSetGetConfig", {"errorCode": NOT_YET_INITIALIZED})
    start_replica_set(address, "lab")
    assert is_primary(address)
