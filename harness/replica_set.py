"""Configure a mongod as a replica set of one member, which transactions and change streams require."""

import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

START_SECONDS = 30
NOT_YET_INITIALIZED = 94
ALREADY_INITIALIZED = 23

Client = MongoClient[dict[str, Any]]


class ReplicaSetError(Exception):
    """The mongod did not become primary. The text is MongoDB's error."""


def start_replica_set(address: str, name: str, **login: Any) -> None:
    """Make the mongod at `address` ("host:port") the primary of the replica set `name`; return when it is.

    If it is configured for another port by an earlier run, only the address is changed. `login` are arguments of
    `MongoClient`, for a mongod that asks for a password. Raises `ReplicaSetError`.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return _become_primary(address, name, login)
        except PyMongoError as error:
            if not _still_starting(error) or time.monotonic() > deadline:
                raise ReplicaSetError(str(error).splitlines()[0]) from error


def _still_starting(error: PyMongoError) -> bool:
    """Whether `error` may come from a mongod that was loading the configuration of an earlier run.

    It listens already, but says that it has none; and once it sees its old address there, it closes all connections.
    """
    return isinstance(error, AutoReconnect) or getattr(error, "code", None) == ALREADY_INITIALIZED


def _become_primary(address: str, name: str, login: dict[str, Any]) -> None:
    # When the address changes, MongoDB closes streaming monitor connections. The driver then closes its whole pool,
    # with the connection that waits for the change. Monitoring by polling avoids that.
    with Client(
        f"mongodb://{address}/?directConnection=true",
        serverSelectionTimeoutMS=START_SECONDS * 1000,
        serverMonitoringMode="poll",
        **login,
    ) as client:
        _configure(client, address, name)
    with Client(
        f"mongodb://{address}/?replicaSet={name}", serverSelectionTimeoutMS=START_SECONDS * 1000, **login
    ) as primary:
        primary.admin.command("ping")


def _configure(client: Client, address: str, name: str) -> None:
    member = {"_id": 0, "host": address}
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", {"_id": name, "members": [member]})
        return
    if config["members"][0]["host"] != address:
        config |= {"members": [member], "version": config["version"] + 1}
        client.admin.command("replSetReconfig", config, force=True)
