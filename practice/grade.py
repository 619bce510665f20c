"""Check many folders, as for a class: each in a process of its own, with a time limit, and none stops the others."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import processes
from practice import stages

COLUMNS = ("folder", *(stage.name for stage in stages.STAGES), "passed", "failed", "remarks", "not_asked", "problem")


def grade(folder: Path, numbers: Sequence[int], seconds: float) -> dict[str, Any]:
    """One row: of each stage "6/6", the checks that passed of those that it has; the sums; and what went wrong, if so.

    A row is given whatever the folder holds; what takes longer than `seconds` is stopped with all that it has started.
    """
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"folder": str(folder)}
    chosen = [word for number in numbers for word in ("--stage", str(number))]
    command = [sys.executable, "-m", "practice", "check", str(folder), "--json", *chosen]
    with tempfile.TemporaryDirectory(prefix="practice-grade-") as scratch:
        program = processes.start(command, Path(scratch) / "log")
        try:
            program.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return row | {"problem": f"it was stopped after {seconds:g} s"}
        finally:
            processes.stop(program)
        said = program.last_lines(3)
    try:
        document = json.loads(said[-1])
    except (IndexError, ValueError):
        return row | {"problem": " ".join(said).removeprefix("Error: ") or "the check ended without a word"}
    return row | _of_results(document)


def _of_results(document: dict[str, Any]) -> dict[str, Any]:
    outcomes = {each["name"]: [check["outcome"] for check in each["checks"]] for each in document["stages"]}
    return {
        **{name: f"{found.count('pass')}/{len(found)}" for name, found in outcomes.items()},
        **{name: document[name] for name in ("passed", "failed", "remarks")},
        "not_asked": sum(found.count("not asked") for found in outcomes.values()),
    }
