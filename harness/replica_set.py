"""Make a lone mongod a replica set of one member: retryable writes, transactions and change streams need a set."""

from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

SELECTION_MS = 30_000
NOT_YET_INITIALIZED = 94

Client = MongoClient[dict[str, Any]]


class ReplicaSetError(Exception):
    """The mongod did not become primary. The text is what MongoDB said."""


def start_replica_set(address: str, name: str) -> None:
    """Make the lone mongod at `address` ("host:port") the primary of a replica set; return when it is.

    If it has the configuration of an earlier run on another port, only its address is changed. Raises
    `ReplicaSetError`.
    """
    try:
        # MongoDB hangs up on whoever watches it while its address is changed, and the driver takes that for the end of
        # all connections, also of the one that waits for the change. Polling does not.
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
