"""The mutants are what they say: one small change of a reference, which starts, and whose mistake can be seen."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from practice import settings, stages
from practice.mutants import MUTANTS, REFERENCES, Mutant, by_name
from practice.mutants.mutant import Change, mutant
from practice.runner import run_stage
from tests.commands import run

# Servers are started and killed many times, on whatever machine this is.
pytestmark = pytest.mark.timeout(300)

# One or two of each stage, and the check that is meant for each; the self-test of `practice` runs all.
SAMPLE = (
    "visits_lost_under_concurrency",
    "limit_off_by_one",
    "bad_json_is_500",
    "never_committed",
    "since_exclusive",
    "migration_changes_ids",
    "replies_newest_first",
    "sms_stored_before_it_is_checked",
    "slack_time_not_checked",
    "cache_never_emptied",
    "limiter_counts_the_refused",
)


def is_of_node(each: Mutant) -> bool:
    return each.reference == "node"


def skip_without_node(each: Mutant) -> None:
    if is_of_node(each) and shutil.which("node") is None:
        pytest.skip("node is not installed")


def test_there_are_enough_in_two_languages() -> None:
    assert len(MUTANTS) >= 46
    assert min(sum(map(is_of_node, MUTANTS)), len(MUTANTS) - sum(map(is_of_node, MUTANTS))) >= 20
    assert {each.stage for each in MUTANTS} == set(range(1, 9))


def test_names_are_unique_and_sentences_whole() -> None:
    assert len({each.name for each in MUTANTS}) == len(MUTANTS)
    for each in MUTANTS:
        assert re.fullmatch("[a-z0-9_]+", each.name)
        assert len(each.says.split()) >= 5
        assert each.says.endswith(".")


@pytest.mark.parametrize("each", MUTANTS, ids=lambda each: each.name)
def test_a_mutant_is_a_small_change_of_a_reference(each: Mutant, tmp_path: Path) -> None:
    each.write(tmp_path / "mutant")  # raises if a snippet is not there exactly once
    original = REFERENCES / each.reference
    changed = {
        path.relative_to(original)
        for path in original.rglob("*")
        if path.is_file() and not {"__pycache__", ".practice"} & set(path.parts)
        if path.read_bytes() != (tmp_path / "mutant" / path.relative_to(original)).read_bytes()
    }
    assert changed == {Path(change.file).relative_to(each.reference) for change in each.changes}
    assert sum(change.wrong.count("\n") for change in each.changes) <= 15
    assert (tmp_path / "mutant" / "practice.toml").is_file()


def test_a_snippet_that_is_not_there_is_refused(tmp_path: Path) -> None:
    wrong = mutant("x", "messages.limit", "X.", Change("flask_sqlite/app.py", "no such line", ""))
    with pytest.raises(ValueError, match="0 times, not once"):
        wrong.write(tmp_path / "mutant")
    assert not (tmp_path / "mutant").exists()


@pytest.mark.parametrize("name", SAMPLE)
def test_the_check_that_is_meant_for_it_fails(name: str, tmp_path: Path) -> None:
    each = by_name(name)
    skip_without_node(each)
    each.write(tmp_path / "mutant")
    stage = replace(stages.STAGES[each.stage - 1], checks=[stages.check(each.check)])
    (found,) = run_stage(settings.of_folder(tmp_path / "mutant"), stage).checks
    assert found.outcome in {"fail", "remark"}
    assert found.asked


def test_the_command_lists_and_writes_them(tmp_path: Path) -> None:
    listed = run("practice.mutants")
    assert all(each.name in listed.stdout and each.says in listed.stdout for each in MUTANTS)
    written = run("practice.mutants", "limit_off_by_one", str(tmp_path / "mutant"))
    assert written.returncode == 0
    assert "found.length <= limit" in (tmp_path / "mutant" / "messages.mjs").read_text()


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    unknown = run("practice.mutants", "nonsense", str(tmp_path / "mutant"))
    assert unknown.returncode == 2
    taken = run("practice.mutants", "limit_off_by_one", str(tmp_path))
    assert taken.returncode == 1
    assert "exists already" in taken.stderr
