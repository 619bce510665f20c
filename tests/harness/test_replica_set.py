"""A mongod becomes a replica set of one, also when it is asked while it still loads its last configuration.

The moments of a start that are hard to meet are made by MongoDB's own failpoint `failCommand`, once each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from harness.mongod import REPLICA_SET
from harness.replica_set import NOT_YET_INITIALIZED, start_replica_set
from harness.throwaway import FAILPOINTS, mongod_running


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A mongod with its replica set still to be configured, which accepts failpoints."""
    with mongod_running(tmp_path, *FAILPOINTS) as (port, _):
        yield f"127.0.0.1:{port}"


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
    start_replica_set(address, REPLICA_SET)
    assert is_primary(address)


def test_a_configuration_that_is_loaded_a_moment_later_is_no_end(address: str) -> None:
    start_replica_set(address, REPLICA_SET)
    fail_once(address, "replSetGetConfig", {"errorCode": NOT_YET_INITIALIZED})
    start_replica_set(address, REPLICA_SET)
    assert is_primary(address)
