"""Which version of the data model this service writes, and what it says of a database that has another.

The service starts on any version: it reads documents of every shape, and writes the newest. But some of
what it promises needs the indexes of the later ones, so it tells when migrations are pending.
"""

import logging

# The number of the last step in migrations/versions.
EXPECTED = 6


def pending(applied: int) -> int:
    """How many steps a database still needs whose highest applied one is number `applied`."""
    return max(0, EXPECTED - applied)


def log_pending(applied: int) -> None:
    """Leave a line in the log if steps are pending."""
    if count := pending(applied):
        logging.warning(
            "%d migrations are pending: the database is at version %d, and %d is expected. Run python -m migrations up",
            count, applied, EXPECTED,
        )  # fmt: skip
