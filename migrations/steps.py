"""The migration scripts in `versions/`, and the record of applied ones in the database.

The collection `migrations` has a document for each applied step: `{_id: name, at, report, checksum}`. The checksum is
SHA-256 of the script's text. An applied script must not be edited: databases that are migrated later would differ from
those that were migrated before.
"""

import hashlib
import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from migrations import versions
from migrations.database import Database, Document, MigrationError
from migrations.operations import Operation

# What is in `migrations` besides these documents is another tool's.
RECORD: Document = {"_id": {"$regex": r"^[0-9]{4}_"}, "at": {"$type": "date"}}


@dataclass(frozen=True)
class Step:
    """A numbered script of `versions/`, by its name, such as `0002_created_at`."""

    name: str

    @property
    def number(self) -> int:
        """The number at the beginning of the name."""
        return int(self.name.split("_")[0])

    @property
    def title(self) -> str:
        """The first line of the script's docstring."""
        return (importlib.import_module(self._path).__doc__ or self.name).splitlines()[0]

    @property
    def operations(self) -> Sequence[Operation]:
        """The script's operations, in the order in which they are applied."""
        operations: Sequence[Operation] = importlib.import_module(self._path).OPERATIONS
        return operations

    @property
    def checksum(self) -> str:
        """SHA-256 of the script's text, in hexadecimal, independent of the kind of line endings."""
        spec = importlib.util.find_spec(self._path)
        assert spec is not None
        assert spec.origin is not None
        return hashlib.sha256(Path(spec.origin).read_text(encoding="utf-8").encode()).hexdigest()

    @property
    def _path(self) -> str:
        return f"{versions.__name__}.{self.name}"


def steps() -> list[Step]:
    """All steps, in order."""
    return [Step(name) for name in sorted(each.name for each in pkgutil.iter_modules(versions.__path__))]


def applied(database: Database) -> dict[str, Document]:
    """The records of the applied steps, by name, in order."""
    return {document["_id"]: document for document in database.migrations.find(RECORD, sort=[("_id", 1)])}


def pending(database: Database) -> list[Step]:
    """The steps that are not applied to `database`, in order."""
    records = applied(database)
    return [step for step in steps() if step.name not in records]


def inconsistencies(database: Database) -> dict[str, str]:
    """The differences between the scripts and the applied steps: an error message with its remedy, by step name."""
    records, known = applied(database), steps()
    problems = {
        name: f"{name} was applied to this database, and there is no such script here: use the code that has it"
        for name in records
        if name not in {step.name for step in known}
    }
    for step in known:
        record = records.get(step.name)
        # Records from before the introduction of checksums have none.
        if record and record.get("checksum", step.checksum) != step.checksum:
            problems[step.name] = (
                f"{step.name} was edited after it was applied on {record['at']:%Y-%m-%d}: "
                "restore the script, and write a new step for the change"
            )
        if not record and (later := [name for name in records if name > step.name]):
            problems[step.name] = (
                f"{step.name} is out of order: {later[0]} was applied without it; "
                "give the script a number after the applied ones"
            )
    return problems


def require_consistency(database: Database) -> None:
    """Raise `MigrationError` if the scripts and the applied steps are inconsistent."""
    if problems := inconsistencies(database):
        raise MigrationError("; ".join(problems.values()))


def step_named(name: str) -> Step:
    """The step with a name, or with a number such as "0002" or "2". Raises `MigrationError` if there is none."""
    for step in steps():
        if name == step.name or (name.isascii() and name.isdigit() and int(name) == step.number):
            return step
    raise MigrationError(f"there is no step {name!r}: name one of {', '.join(step.name for step in steps())}")
