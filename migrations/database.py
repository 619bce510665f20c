"""The database to migrate, and the one kind of error that a person is meant to read."""

from datetime import UTC
from typing import Any

from pymongo import MongoClient, WriteConcern
from pymongo.database import Database as PyMongoDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

Document = dict[str, Any]
Database = PyMongoDatabase[Document]

DURABLE = WriteConcern(w="majority", j=True)


class MigrationError(Exception):
    """The database cannot be migrated as asked. The text is one line that says what to do."""


def connect(mongodb_uri: str, database: str) -> Database:
    """The database to migrate; close its `client` in the end. Raises `MigrationError`.

    Writes are acknowledged by a majority, and journaled. Reads come from the primary, and see what a
    majority has: a batch that could still be rolled back does not count as done.
    """
    try:
        client: MongoClient[Document] = MongoClient(
            mongodb_uri, serverSelectionTimeoutMS=5000, tz_aware=True, tzinfo=UTC, appname="backend-lab migrations"
        )
    except (PyMongoError, ValueError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise MigrationError(f"the address of MongoDB cannot be used ({reason}): correct --mongodb-uri") from error
    return client.get_database(database, write_concern=DURABLE, read_concern=ReadConcern("majority"))
