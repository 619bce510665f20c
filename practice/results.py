"""What came of checks, as data: for the terminal, as JSON, and for the report."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["pass", "fail", "remark", "not asked"]


@dataclass(frozen=True)
class CheckResult:
    """What came of one check. `printed` are the last lines that the server printed meanwhile."""

    id: str
    says: str
    outcome: Outcome
    asked: str
    answered: str
    expected: str
    why: str
    printed: tuple[str, ...] = ()

    def as_json(self) -> dict[str, str]:
        """The fields that `check --json` shows."""
        shown = ("id", "says", "outcome", "asked", "answered", "expected", "why")
        return {name: getattr(self, name) for name in shown}


@dataclass(frozen=True)
class StageResult:
    """What came of one stage. `repeat` starts the server again as it was, on its port and its data."""

    stage: int
    name: str
    checks: tuple[CheckResult, ...]
    repeat: str = ""
    seconds: float = field(default=0.0, compare=False)

    def count(self, *outcomes: Outcome) -> int:
        """How many checks ended so."""
        return sum(each.outcome in outcomes for each in self.checks)


def as_json(results: Sequence[StageResult]) -> dict[str, Any]:
    """All results as `check --json` shows them: see `check.schema.json`."""
    return {
        "stages": [
            {"stage": each.stage, "name": each.name, "checks": [check.as_json() for check in each.checks]}
            for each in results
        ],
        "passed": sum(each.count("pass") for each in results),
        "failed": sum(each.count("fail") for each in results),
        "remarks": sum(each.count("remark") for each in results),
    }
