"""What was checked in a learner's folder so far: one line of JSON for each run of `check`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from practice.results import StageResult, as_json

FILE = "history.jsonl"


@dataclass(frozen=True)
class Run:
    """One run of `check`: when, and its results as `check --json` shows them."""

    at: datetime
    results: dict[str, Any]

    def checks(self) -> dict[str, dict[str, str]]:
        """All results by the id of the check."""
        return {each["id"]: each for stage in self.results["stages"] for each in stage["checks"]}


def add(folder: Path, results: Sequence[StageResult]) -> None:
    """Add a run to the history in `folder`. Raises `OSError`."""
    line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **as_json(results)}, ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a", encoding="utf-8") as history:
        history.write(f"{line}\n")


def read(folder: Path) -> list[Run]:
    """All runs in the history in `folder`, oldest first; lines that are none are left out."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [run for run in map(_run, lines) if run is not None]


def _run(line: str) -> Run | None:
    try:
        document = json.loads(line)
        return Run(datetime.fromisoformat(document.pop("at")), document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
