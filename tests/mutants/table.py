"""What `table.toml` says: which modules are mutated, which tests must notice, and which mutants no test can notice."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.operators import Mutant


@dataclass(frozen=True)
class Table:
    """What `table.toml` says.

    `modules` has the tests of each module, `skip` the names of tests that are left out, and `explained` why a mutant,
    by its module and the line that becomes another, cannot be told from the original.
    """

    modules: dict[str, list[str]]
    skip: list[str]
    explained: dict[tuple[str, str, str], str]

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read the table. Raises `OSError` and `tomllib.TOMLDecodeError`, and `KeyError` for what is missing."""
        found = tomllib.loads(path.read_text())
        explained = {
            (each["module"], line, becomes): each["why"]
            for each in found.get("explained", [])
            for line, becomes in each["mutants"]
        }
        return cls(found["modules"], found["skip"], explained)

    def why(self, mutant: Mutant) -> str | None:
        """Why this mutant is equivalent to the original, or None if it is not known to be."""
        return self.explained.get((mutant.module, mutant.line, mutant.becomes))

    def tests(self, module: str) -> list[str]:
        """The tests of `module`, as arguments of pytest."""
        return [*self.modules[module], "-k", f"not ({' or '.join(self.skip)})"]
