"""`docs/diagnosis.md` describes each signal and each part of the budget as the code does."""

import re
from pathlib import Path

from profiles.diagnosis.budget import PARTS
from profiles.diagnosis.evidence import SIGNALS

PAGE = (Path(__file__).parents[3] / "docs" / "diagnosis.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The rows of the table in a section, without its head."""
    section = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in re.findall(r"^\|.*$", section, re.MULTILINE)]
    return found[2:]


def test_the_signals() -> None:
    expected = [[f"`{name}`", each.unit, each.what, each.source, each.fooled_by] for name, each in SIGNALS.items()]
    assert rows("The signals") == expected


def test_the_parts_of_the_budget() -> None:
    assert rows("Where the time goes") == [[name, *about] for name, about in PARTS.items()]
