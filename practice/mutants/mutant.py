"""What a mutant is: a reference server in which one thing is wrong."""

import shutil
from dataclasses import dataclass
from pathlib import Path

REFERENCES = Path(__file__).parent.parent / "references"
STAGES = ("scaffolding", "messages", "time", "replies", "twilio", "slack", "reads", "writes", "mixed")


@dataclass(frozen=True)
class Change:
    """A change of a reference: `file`, such as `node/log.mjs`, has `right` once and gets `wrong` in its place."""

    file: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Mutant:
    """One mistake that people make. `name` says what is wrong, `check` is the id of the check that is to catch it."""

    name: str
    check: str
    says: str
    changes: tuple[Change, ...]

    @property
    def stage(self) -> int:
        """The number of the stage in which the mistake shows."""
        return STAGES.index(self.check.partition(".")[0]) + 1

    @property
    def reference(self) -> str:
        """The name of the reference that is changed."""
        (name,) = {change.file.partition("/")[0] for change in self.changes}
        return name

    def write(self, folder: Path) -> None:
        """Write the mutant to `folder`, which must not exist: a server with its practice.toml, like a learner's own.

        Raises `ValueError` if the reference does not have the snippet to be changed exactly once.
        """
        sources = {change.file: (REFERENCES / change.file).read_text(encoding="utf-8") for change in self.changes}
        for change in self.changes:
            times = sources[change.file].count(change.right)
            if times != 1:
                raise ValueError(f"{self.name}: {change.file} has this {times} times, not once:\n{change.right}")
            sources[change.file] = sources[change.file].replace(change.right, change.wrong)
        shutil.copytree(REFERENCES / self.reference, folder, ignore=shutil.ignore_patterns("__pycache__", ".practice"))
        for file, source in sources.items():
            (folder / file.partition("/")[2]).write_text(source, encoding="utf-8")


def mutant(name: str, check: str, says: str, *changes: Change) -> Mutant:
    """A mutant with these changes: one as a rule, more where one mistake stands in several places."""
    return Mutant(name, check, says, changes)
