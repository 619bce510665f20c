"""What `table.toml` says: which modules are mutated, which tests must notice, and which mutants no test can notice."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.operators import Mutant


@dataclass(frozen=True)
class Explained:
    """A mutant that no test can tell from the original, and why."""

    module: str
    line: str
    becomes: str
    why: str


@dataclass(frozen=True)
class Table:
    """What `table.toml` says: the tests of each module, names of tests to leave out, and the explained mutants."""

    modules: dict[str, list[str]]
    skip: list[str]
    explained: list[Explained]

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read the table. Raises `OSError` and `tomllib.TOMLDecodeError`."""
        found = tomllib.loads(path.read_text())
        explained = [Explained(**each) for each in found.get("explained", [])]
        return cls(found["modules"], found.get("skip", []), explained)

    def why(self, mutant: Mutant) -> str | None:
        """Why this mutant is equivalent to the original, or None if it is not known to be."""
        key = (mutant.module, mutant.line, mutant.becomes)
        return next((each.why for each in self.explained if (each.module, each.line, each.becomes) == key), None)

    def tests(self, module: str) -> list[str]:
        """The tests of `module`, as arguments of pytest."""
        skip = ["-k", f"not ({' or '.join(self.skip)})"] if self.skip else []
        return [*self.modules[module], *skip]
