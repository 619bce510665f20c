"""The short form of the selftest: right servers pass, wrong ones are caught, and what it says is what it saw."""

from pathlib import Path

import pytest

from practice import selftest, stages
from practice.__main__ import command
from practice.mutants import MUTANTS, by_name
from practice.selftest import Trial, Verdict
from tests.in_process import invoke

pytestmark = pytest.mark.timeout(600)
FEW = ("stdlib", "visits_lost_under_concurrency", "since_exclusive", "sms_blank_fields_dropped")


def test_a_reference_passes_and_mutants_are_caught() -> None:
    only = [word for name in FEW for word in ("--only", name)]
    ended = invoke(command, "selftest", "--quick", *only)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "references  1 of 1 passed (python)" in ended.stdout


def test_every_mutant_names_a_check_that_there_is() -> None:
    ids = {check.id for stage in stages.STAGES for check in stage.checks}
    assert [each.name for each in MUTANTS if each.check not in ids] == []
    assert [each.name for each in MUTANTS if stages.STAGES[each.stage - 1].name != each.check.partition(".")[0]] == []


def verdict(outcomes: dict[str, str], **more: object) -> Verdict:
    mutant = by_name("since_exclusive")
    return Verdict(Trial(mutant.name, Path(), (3,), mutant), outcomes, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcomes", "more", "mark"),
    [
        ({"time.inclusive": "fail"}, {}, "✓"),
        ({"time.since": "fail", "time.inclusive": "pass"}, {}, "~"),
        ({"time.since": "pass", "time.inclusive": "pass"}, {}, "✗"),
        ({"time.inclusive": "not asked"}, {}, "✗"),
        ({}, {"error": "Error: the server ended"}, "~"),
        ({}, {"error": "Traceback", "is_broken": True}, "✗"),
    ],
)
def test_a_verdict_is_told(outcomes: dict[str, str], more: dict[str, object], mark: str) -> None:
    assert selftest.line(verdict(outcomes, **more)).split()[0] == mark


def test_checks_that_no_mutant_needs_are_named() -> None:
    *_, last = selftest.summary([verdict({"time.inclusive": "fail", "time.since": "pass"})])
    assert "time.since" in last
    assert "time.inclusive" not in last
