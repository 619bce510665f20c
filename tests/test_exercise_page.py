"""docs/exercise.md has every step of the exercise, and what it names is there.

That its commands are understood and its links lead somewhere is tested in `tests/test_docs.py`.
"""

import re

import pytest

from notebooks import lab
from practice.stages import STAGES
from tests.pages import DOCS, ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCS["exercise"].text.splitlines()
    if re.match(r"\| .* \| \[\d\d\]", line)
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_step_has_its_notebook_its_command_its_code_and_its_stage(row: list[str]) -> None:
    _, notebook, command, code, stage = row
    number, name = re.fullmatch(r"\[(\d\d)\]\(\.\./notebooks/(.+)\)", notebook).groups()  # type: ignore[union-attr]
    assert name.startswith(number)
    assert (ROOT / "notebooks" / name).exists()
    assert re.fullmatch(r"`python -m \w.*`", command)
    assert (ROOT / code.strip("`")).is_file()
    assert int(stage) in {each.number for each in STAGES}


def test_every_notebook_and_every_stage_has_a_step() -> None:
    assert {row[1][1:3] for row in ROWS} == {path.name[:2] for path in lab.notebooks()} - {"00"}
    assert {int(row[4]) for row in ROWS} == {each.number for each in STAGES}
