"""Who may use the embedded MongoDB: only those who can read its data dir.

mongod listens on loopback, where every user of the machine can connect, so it runs with a key file and asks for a
password. Key and password are random, and new at every start. Nothing has to be kept or found again: whatever a data
dir has been through (made before there were passwords, killed in the middle of its first start), the next start sets
both.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from pymongo import MongoClient

# The number of hash rounds slows down guessing, which is of no use against 256 random bits. It is the least that mongod
# accepts, because every client that starts has to do as much work.
OPTIONS = ("--setParameter", "scramSHA256IterationCount=5000")
USER = "lab"
BYTES = 32


def _random() -> str:
    return secrets.token_hex(BYTES)


@dataclass(frozen=True)
class Access:
    """The content of a key file, and the password of `USER`."""

    key: str = field(default_factory=_random, repr=False)
    password: str = field(default_factory=_random, repr=False)

    @property
    def internal_login(self) -> dict[str, Any]:
        """The arguments with which a `MongoClient` logs in as the user that members of a replica set are to each other.

        Every mongod with this key file has it, in memory: also one that is no replica set yet, and has no users.
        """
        return {"username": "__system", "password": self.key, "authSource": "local"}

    def uri(self, address: str, replica_set: str) -> str:
        """The connection string of `USER`."""
        return f"mongodb://{USER}:{self.password}@{address}/?replicaSet={replica_set}&authSource=admin"

    def grant(self, address: str) -> None:
        """Make `USER`, with every right, or set the password that it has now. The mongod at `address` is primary.

        Raises `PyMongoError`.
        """
        with MongoClient[dict[str, Any]](address, directConnection=True, **self.internal_login) as client:
            exists = client.admin.command("usersInfo", USER)["users"]
            client.admin.command(
                "updateUser" if exists else "createUser",
                USER,
                pwd=self.password,
                roles=["root"],
                mechanisms=["SCRAM-SHA-256"],
            )
