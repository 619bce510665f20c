"""Hints: one step further each time somebody asks about the same check."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path

FILE = "hints.json"


def all_of_them() -> dict[str, list[str]]:
    """All hints by the id of their check; of each check the vaguest first, the plainest last."""
    return tomllib.loads(files("practice").joinpath("hints.toml").read_text(encoding="utf-8"))


def of(check: str) -> list[str]:
    """The hints for a check."""
    return all_of_them().get(check, [])


def next_one(check: str, folder: Path) -> tuple[int, int, str]:
    """The next hint for a check: its number, how many there are, and its text. After the last, that one again.

    How many were given already stands in `folder`, in `hints.json`.
    """
    path = folder / FILE
    try:
        given = json.loads(path.read_text())
    except (OSError, ValueError):
        given = {}
    hints = of(check)
    number = min(int(given.get(check, 0)) + 1, len(hints))
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(given | {check: number}))
    return number, len(hints), hints[number - 1]
