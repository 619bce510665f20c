"""Mutation testing: which changes are made, what becomes of them, and that what is explained is still there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT, TABLE
from tests.mutants.operators import mutants
from tests.mutants.table import Table

# Runs the tests of a project on its module as it is and on three mutants of it, one of which would never end.
RUN = """
import json, sys
from pathlib import Path
from tests.mutants.runs import Copy, Job, run_all
project, copies = map(Path, sys.argv[1:])
source = (project / "toy/count.py").read_text()
changes = [("", "", 60), ("< number", "<= number", 60), ("break", "pass", 60), ("+= 1", "+= 0", 2)]
jobs = [Job("toy/count.py", source.replace(*change), ["tests/test_count.py"], limit) for *change, limit in changes]
ends = run_all(jobs, [Copy(project, copies / name, {"CI": "true"}) for name in "ab"])
print(json.dumps(sorted((end.number, end.passed) for end in ends)))
"""
MODULE = """
def count(number):
    counted = 0
    while counted < number:
        counted += 1
        if counted < 0:
            break
    return counted
"""
TESTS = """
from toy.count import count

def test_it_counts():
    assert count(2) == 2
"""


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a == b", ["a != b"]),
        ("a is not None", ["a is None"]),
        ("a < b <= c", ["a <= b <= c", "a >= b <= c", "a < b < c", "a < b > c"]),
        ("a + b", ["a - b"]),
        ("a | b", ["a"]),
        ("a and b", ["a or b"]),
        ("x = not a", ["x = a"]),
        ("x = 7", ["x = 8"]),
        ("x = True", ["x = False"]),
        ("x = 'text'", []),
        ("x: int | None = None", []),
        ("x += 1", ["x -= 1", "pass", "x += 2"]),
        ("max(a, b)", ["pass", "min(a, b)"]),
        ("self.x = y", ["pass"]),
        ("raise ValueError(f'{1 + 1}')", ["pass"]),
        ("if a: b()", ["if not a: b()", "if a: pass"]),
        ("def f(x: int = 1): return x", ["def f(x: int = 2): return x", "def f(x: int = 1): return None"]),
        ("import a", []),
        ("'''A docstring of 1 line.'''", []),
    ],
)  # fmt: skip
def test_one_thing_is_changed_at_a_time(line: str, becomes: list[str]) -> None:
    found = mutants("module.py", f"{line}\n")
    assert sorted(each.becomes for each in found) == sorted(becomes)
    assert {each.line for each in found} <= {line}


def test_a_change_leaves_the_rest_of_a_module_as_it_was() -> None:
    source = "# ü\nx = {  # a comment\n    'ü': 1 + y,\n}\n"
    (added, counted) = mutants("module.py", source)
    assert added.source == source.replace("+", "-")
    assert counted.source == source.replace("1", "2")
    assert added.diff(source).splitlines()[3:] == [" x = {  # a comment", "-    'ü': 1 + y,", "+    'ü': 1 - y,", " }"]


def test_a_mutant_is_killed_by_a_failing_test_or_by_time_and_the_project_stays_as_it_is(tmp_path: Path) -> None:
    project, copies = tmp_path / "project", tmp_path / "copies"
    for path, text in {"toy/__init__.py": "", "toy/count.py": MODULE, "tests/test_count.py": TESTS}.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    command = [sys.executable, "-c", RUN, project, copies]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    # Nothing is ever counted below 0, so nobody notices what would happen then. The last one never ends by itself.
    assert json.loads(ended.stdout) == [[0, True], [1, False], [2, True], [3, False]]
    assert (project / "toy/count.py").read_text() == MODULE


def test_every_explained_mutant_is_one() -> None:
    table = Table.read(TABLE)
    made = {
        (each.module, each.line, each.becomes)
        for module in table.modules
        for each in mutants(module, (ROOT / module).read_text())
    }
    assert set(table.explained) - made == set()
    assert all(table.explained.values())


def test_the_tests_of_each_module_are_there() -> None:
    table = Table.read(TABLE)
    assert [path for tests in table.modules.values() for path in tests if not (ROOT / path).is_file()] == []
