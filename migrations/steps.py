"""The numbered scripts in `versions/`, and what a database remembers of them.

Applied steps are documents of the collection `migrations`: `{_id: name, at, report, checksum}`. The checksum
is SHA-256 over the script's text. A script that was applied is history: who changes it makes it say
something that never happened to this database, and databases that are migrated later will differ.
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


@dataclass(frozen=True)
class Step:
    """One numbered script: `0002_created_at`."""

    name: str

    @property
    def number(self) -> int:
        """2, for example."""
        return int(self.name.split("_")[0])

    @property
    def title(self) -> str:
        """The first line of the script's docstring."""
        return (importlib.import_module(self._path).__doc__ or self.name).splitlines()[0]

    @property
    def operations(self) -> Sequence[Operation]:
        """What it does, in order."""
        operations: Sequence[Operation] = importlib.import_module(self._path).OPERATIONS
        return operations

    @property
    def checksum(self) -> str:
        """SHA-256 of the script, in hexadecimal; however its lines end."""
        spec = importlib.util.find_spec(self._path)
        assert spec is not None
        assert spec.origin is not None
        return hashlib.sha256(Path(spec.origin).read_text(encoding="utf-8").encode()).hexdigest()

    @property
    def _path(self) -> str:
        return f"{versions.__name__}.{self.name}"


def steps() -> list[Step]:
    """Every step there is, in order."""
    return [Step(name) for name in sorted(each.name for each in pkgutil.iter_modules(versions.__path__))]


def applied(database: Database) -> dict[str, Document]:
    """What is remembered of each applied step, by its name."""
    return {document["_id"]: document for document in database.migrations.find(sort=[("_id", 1)])}


def pending(database: Database) -> list[Step]:
    """The steps that `database` has not had, in order."""
    had = applied(database)
    return [step for step in steps() if step.name not in had]


def contradictions(database: Database) -> dict[str, str]:
    """What is wrong between the scripts and what was applied: what to do about it, by the step's name."""
    had, known = applied(database), steps()
    wrong = {
        name: f"{name} was applied to this database, and there is no such script here: use the code that has it"
        for name in had
        if name not in {step.name for step in known}
    }
    for step in known:
        before = had.get(step.name)
        # Those applied before checksums were kept have none.
        if before and before.get("checksum", step.checksum) != step.checksum:
            wrong[step.name] = (
                f"{step.name} was edited after it was applied on {before['at']:%Y-%m-%d}: "
                "bring the script back as it was, and write a new step for the change"
            )
        if not before and (later := [name for name in had if name > step.name]):
            wrong[step.name] = (
                f"{step.name} is out of order: {later[0]} was applied without it; "
                "give the script a number after the applied ones"
            )
    return wrong


def refuse_contradictions(database: Database) -> None:
    """Raise `MigrationError` if scripts and applied steps do not agree."""
    if wrong := contradictions(database):
        raise MigrationError("; ".join(wrong.values()))


def target(name: str) -> Step:
    """The step that a number or a name stands for. Raises `MigrationError`."""
    for step in steps():
        if name == step.name or (name.isascii() and name.isdigit() and int(name) == step.number):
            return step
    raise MigrationError(f"there is no step {name!r}: name one of {', '.join(step.name for step in steps())}")
