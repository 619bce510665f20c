"""Say what to do about an error of MongoDB that ended a migration."""

from pymongo.errors import ConfigurationError, ConnectionFailure, DocumentTooLarge, OperationFailure, PyMongoError

RESUMED = "what was done is stored, and the same command goes on from there"

# What to do, by MongoDB's error codes (src/mongo/base/error_codes.yml).
CURES = {
    frozenset({13}): "this user may not do that: grant it readWrite and dbAdmin on this database",
    frozenset({18}): "MongoDB does not know this user and password: correct --mongodb-uri",
    frozenset({10334, 17419, 17420}): (
        "a document is so large that it cannot take one more field: shorten or delete it "
        f"(`python -m migrations plan` names it), then run again; {RESUMED}"
    ),
    frozenset({121}): (
        "a validator of a collection refuses what the step writes: remove it "
        f"(`python -m migrations plan` names it), then run again; {RESUMED}"
    ),
    frozenset({166}): "a collection is a view: `python -m migrations plan` names it",
    frozenset({14031}): f"MongoDB has no disk space left: make room, then run again; {RESUMED}",
}
TOO_LARGE, OTHERS = CURES[frozenset({10334, 17419, 17420})], f"correct that, then run again; {RESUMED}"


def explained(error: PyMongoError) -> str:
    """One line: what MongoDB says, and what to do."""
    reason = str(error).split(", Timeout:")[0].split(", full error:")[0].split(" (configured")[0].splitlines()[0]
    if isinstance(error, ConnectionFailure | ConfigurationError):
        return f"MongoDB cannot be used ({reason}): start it, or correct --mongodb-uri"
    return f"MongoDB refused it ({reason}): {_cure(error)}"


def _cure(error: PyMongoError) -> str:
    if isinstance(error, DocumentTooLarge):
        return TOO_LARGE
    code = error.code if isinstance(error, OperationFailure) else None
    return next((cure for codes, cure in CURES.items() if code in codes), OTHERS)
