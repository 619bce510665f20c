"""The version of the data model that this service writes, and a warning when the database has an older one.

The service starts on any version: it reads documents of every version, and writes the latest. Some of its promises
need the indexes of later migrations, so it says when migrations are pending.
"""

import logging

# The number of the last step in migrations/versions.
EXPECTED = 6


def pending(applied: int) -> int:
    """The number of pending migrations of a database whose last applied migration is number `applied`."""
    return max(0, EXPECTED - applied)


def log_pending(applied: int) -> None:
    """Log a warning if migrations are pending."""
    if count := pending(applied):
        logging.warning(
            "%d migrations are pending: the database is at version %d, and %d is expected. Run python -m migrations up",
            count, applied, EXPECTED,
        )  # fmt: skip
