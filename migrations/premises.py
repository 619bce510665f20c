"""What must be true of a database before anything is written: `plan` says what is not, and `up` refuses with it.

A database may have been used by others: with collections of the same names that are something else, with indexes,
validators and documents of their own. Each problem is one sentence that names what is there, and the cure.
"""

from collections.abc import Iterator
from typing import Any

from migrations.database import Database, Document, MigrationError
from migrations.documents import HAS_WHOLE_NUMBER
from migrations.operations import ChangesNoDocuments, Found, Index, Validator, found
from migrations.steps import RECORD, Step, pending, steps

# The collections that the service and the migrations write.
OURS = ("messages", "counters", "visits", "migrations", "migration_lease")
COPY = (
    'copy it into an ordinary one: `db.{0}.aggregate([{{$out: "{0}_copy"}}])`, `db.{0}.drop()`, '
    '`db.{0}_copy.renameCollection("{0}")` in mongosh'
)
ELSEWHERE = "or use another database with --database"
# Options of an index in which two indexes with the same keys may differ.
SIGNATURE = ("unique", "sparse", "partialFilterExpression", "collation")
MAX_DOCUMENT = 16 * 1024 * 1024  # bytes, of BSON
NEW_FIELDS = 64  # bytes: `created_at` and `seq`
MAX_GAP = 1000  # the numbers up to one that is far above the counter would all be made void


def require(database: Database) -> None:
    """Raise `MigrationError` if `up` cannot work on what is in the database."""
    if problems := list(_problems(database)):
        raise MigrationError("; ".join(problems))


def _problems(database: Database) -> Iterator[str]:
    collections: dict[str, Document] = {
        each["name"]: dict(each) for each in database.list_collections() if each["name"] in OURS
    }
    kinds = [problem for each in collections.values() for problem in _kind(each)]
    yield from kinds
    if kinds:  # then the questions below may have no answer
        return
    yield from map(str, found(database, "migrations", {"$nor": [RECORD]}, _OTHER_TOOL))
    for name in collections:
        yield from _indexes(database, name)
    todo = pending(database)
    if "messages" in collections and todo:
        yield from _unique_values(database, todo)
        yield from map(str, _documents(database, todo))


_OTHER_TOOL = (
    "documents of another tool in the collection migrations: rename it with "
    f'`db.migrations.renameCollection("migrations_of_others")` in mongosh, {ELSEWHERE}'
)


def _kind(collection: Document) -> Iterator[str]:
    """What is wrong with the kind of a collection, or its options."""
    name, options = collection["name"], collection.get("options", {})
    if collection.get("type") == "view":
        yield f"{name} is a view: rename or drop it, {ELSEWHERE}"
        return
    if collection.get("type") == "timeseries":
        yield f"{name} is a time-series collection, in which documents cannot be updated: rename it, {ELSEWHERE}"
        return
    if options.get("capped"):
        yield f"{name} is a capped collection, which loses its oldest documents: {COPY.format(name)}"
    if options.get("clusteredIndex"):
        yield f"{name} is a clustered collection, and has no index of its ids: {COPY.format(name)}"
    if "collation" in options:
        yield (
            f"{name} has the collation {options['collation'].get('locale')}, by which different keys are equal: "
            f"{COPY.format(name)}"
        )
    if options.get("validator") and not (name == "messages" and _is_ours(options["validator"])):
        yield (
            f"{name} has a validator that no step has set, and that may refuse what they write: "
            f'remove it with `db.runCommand({{collMod: "{name}", validator: {{}}}})` in mongosh'
        )


def _is_ours(validator: Document) -> bool:
    operations = [each for step in steps() for each in step.operations if isinstance(each, Validator)]
    return any(validator == {"$jsonSchema": each.schema} for each in operations)


def _indexes(database: Database, collection: str) -> Iterator[str]:
    """Indexes that stand in the way of a step's, or would make writes of the service fail."""
    there = database[collection].index_information()
    ours = {each.name: each for step in steps() for each in step.operations if isinstance(each, Index)}
    if collection == "messages":
        yield from (str(each) for name in ours if name in there for each in ours[name].offenders(database))
    for name, index in there.items():
        if name == "_id_" or (collection == "messages" and name in ours):
            continue
        drop = f'drop it with `db.{collection}.dropIndex("{name}")` in mongosh'
        same = [each.name for each in ours.values() if collection == "messages" and _is_same(each, index)]
        if same:
            yield f"the index {name} of {collection} is what a step makes under the name {same[0]}: {drop}"
        elif index.get("unique"):
            yield f"the index {name} of {collection} is unique, and may refuse what the service writes: {drop}"
        if "expireAfterSeconds" in index:
            yield f"the index {name} of {collection} deletes documents that the service has promised to keep: {drop}"


def _is_same(ours: Index, there: Document) -> bool:
    wanted: Document = {"key": ours.keys, **ours.options}
    return all(there.get(each) == wanted.get(each) for each in ("key", *SIGNATURE))


def _unique_values(database: Database, todo: list[Step]) -> Iterator[str]:
    """Values that several messages have, although a step will make them unique."""
    there = database.messages.index_information()
    for index in (each for step in todo for each in step.operations if isinstance(each, Index)):
        if index.options.get("unique") and index.name not in there:
            ((field, _),) = index.keys
            twice = database.messages.aggregate(
                [
                    {"$match": {field: {"$exists": True}}},
                    {"$group": {"_id": f"${field}", "count": {"$sum": 1}}},
                    {"$match": {"count": {"$gt": 1}}},
                    {"$limit": 1},
                ],
                allowDiskUse=True,
            )
            yield from (index.duplicate({field: each["_id"]}) for each in twice)


def _documents(database: Database, todo: list[Step]) -> Iterator[Found]:
    """Documents that a pending step cannot change, or whose `seq` is something else."""
    if any(not isinstance(each, ChangesNoDocuments) for step in todo for each in step.operations):
        fields = {"$or": [{"created_at": None}, {"seq": None}]}
        large = {"$expr": {"$gt": [{"$bsonSize": "$$ROOT"}, MAX_DOCUMENT - NEW_FIELDS]}}
        what = "messages so large that they cannot take one more field: shorten or delete them"
        yield from found(database, "messages", fields | large, what)
    if "0005_seq" in {step.name for step in todo}:
        yield from _numbers_of_others(database)


def _numbers_of_others(database: Database) -> Iterator[Found]:
    counter: Any = (database.counters.find_one({"_id": "messages"}) or {}).get("seq") or 0
    if not isinstance(counter, int | float):
        yield Found(1, "counter of messages that is no number: rename it in the collection counters", ("messages",))
        return
    ours = {"$or": [{"seq": None}, {"seq": {"$lte": counter + MAX_GAP}, "$expr": HAS_WHOLE_NUMBER}]}
    rename = '`db.messages.updateMany({}, {$rename: {seq: "seq_of_others"}})` in mongosh'
    yield from found(
        database,
        "messages",
        {"$nor": [ours]},
        f"messages with a seq that the service has not given: rename it, {rename}",
    )
