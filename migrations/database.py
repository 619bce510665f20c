"""Connect to the database to migrate; the error class of all migrations."""

from datetime import UTC
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient, WriteConcern
from pymongo.database import Database as PyMongoDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

Document = dict[str, Any]
Database = PyMongoDatabase[Document]

DURABLE = WriteConcern(w="majority", j=True)
# A time or a text of somebody else's that Python cannot read must not end a migration.
LENIENT: CodecOptions[Document] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)


class MigrationError(Exception):
    """The database cannot be migrated. The text is one line that says what to do."""


def connect(mongodb_uri: str, database: str) -> Database:
    """Connect and return the database; the caller closes its `client`. Raises `MigrationError` for a bad address.

    Write concern is majority with journaling. Reads are from the primary with read concern majority, so a batch that
    could still be rolled back does not count as done.
    """
    try:
        client: MongoClient[Document] = MongoClient(
            mongodb_uri, serverSelectionTimeoutMS=5000, tz_aware=True, tzinfo=UTC, appname="backend-lab migrations"
        )
    except (PyMongoError, ValueError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise MigrationError(f"the address of MongoDB cannot be used ({reason}): correct --mongodb-uri") from error
    return client.get_database(database, LENIENT, write_concern=DURABLE, read_concern=ReadConcern("majority"))
