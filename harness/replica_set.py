"""Configure a mongod as a replica set of one member, which transactions and change streams require."""

from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

SELECTION_MS = 30_000
NOT_YET_INITIALIZED = 94

Client = MongoClient[dict[str, Any]]


class ReplicaSetError(Exception):
    """The mongod did not become primary. The text is MongoDB's error."""


def start_replica_set(address: str, name: str) -> None:
    """Make the mongod at `address` ("host:port") the primary of the replica set `name`; return when it is.

    If it is configured for another port by an earlier run, only the address is changed. Raises `ReplicaSetError`.
    """
    try:
        # When the address changes, MongoDB closes streaming monitor connections. The driver then closes its whole pool,
        # with the connection that waits for the change. Monitoring by polling avoids that.
        with Client(
            f"mongodb://{address}/?directConnection=true",
            serverSelectionTimeoutMS=SELECTION_MS,
            serverMonitoringMode="poll",
        ) as client:
            _configure(client, address, name)
        with Client(f"mongodb://{address}/?replicaSet={name}", serverSelectionTimeoutMS=SELECTION_MS) as primary:
            primary.admin.command("ping")
    except PyMongoError as error:
        raise ReplicaSetError(str(error).splitlines()[0]) from error


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
