"""The command `python -m tests.faults`: a short form of it on real processes, and bugs that it has to find."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from practice.outages.checks import CHECKERS, Finding
from practice.outages.history import Fault, Noted, Post, Recorder, Stored, Walked
from tests.commands import complaint, run
from tests.faults.__main__ import command
from tests.faults.embedded import EMBEDDED
from tests.faults.kinds import FAULTS
from tests.faults.planted import BUGS
from tests.faults.run import PLAN, Plan, histories, judged
from tests.faults.schedule import steps
from tests.faults.totals import table, told
from tests.in_process import invoke
from tests.pages import ROOT

SHORT = ("primary killed", "worker killed", "replies lost after the commit", "embedded mongod killed")
SECONDS = 500.0  # a minute on a quiet machine
PLANTED = ("acknowledged before a majority has it", "keys forgotten")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command be found in any folder: the tests are not installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


# On real processes.


@pytest.mark.alone
@pytest.mark.timeout(SECONDS + 100)
def test_nothing_is_lost_and_nothing_is_hidden(tmp_path: Path) -> None:
    only = [word for kind in SHORT for word in ("--only", kind)]
    ended = run("tests.faults", "--faults", str(len(SHORT)), "--seed", "1", *only, cwd=tmp_path, seconds=SECONDS)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.split()[0:1] == ["faults"]] == [f"faults{len(SHORT):27}"]
    assert list((tmp_path / ".lab" / "faults").iterdir()) == []


@pytest.mark.alone
@pytest.mark.timeout(SECONDS + 100)
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(tmp_path: Path, bug: str) -> None:
    ended = run("tests.faults", "--bug", bug, cwd=tmp_path, seconds=SECONDS)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{bug}: found" in ended.stdout
    (kept,) = (tmp_path / ".lab" / "faults").iterdir()
    again = run("tests.faults", "--replay", kept, cwd=tmp_path)
    assert again.returncode == 1
    assert ended.stdout.startswith(again.stdout)


# What it does when.


def test_the_same_seed_gives_the_same_steps() -> None:
    assert steps(7, 50) == steps(7, 50) != steps(8, 50)


def test_every_kind_comes_among_two_hundred() -> None:
    found = steps(1, 200)
    assert {kind for each in found for kind in each.kinds} == {*FAULTS, *EMBEDDED}
    assert sum(len(each.kinds) for each in found) == 200
    assert {len(each.kinds) for each in found} == {1, 2}


def test_only_some_kinds_come_in_turn() -> None:
    found = [each.kinds for each in steps(1, 4, ("worker killed", "network cut"))]
    assert sorted(found) == [("network cut",)] * 2 + [("worker killed",)] * 2


def test_each_checker_has_a_planted_bug() -> None:
    assert set().union(*(each.found_as for each in BUGS.values())) == set(CHECKERS)


# What is told of a run: made by hand.

POST = Post("w", "service a", 1.0, 2.0, "acknowledged", "x", 1, "2024-02-29T12:00:00.000Z")
KILLED = Fault("primary killed + worker killed", 1.5, 2.5, 4.0, ["service a"])


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """The folder of a run in which a message was lost, and a service had to be started by hand."""
    folder = tmp_path / "recorded"
    recorder = Recorder(folder)
    records = [
        replace(POST, text="y", began=0.0, ended=0.5, seq=2),
        POST,
        KILLED,
        Noted("hand", 3.0, "service a did not recover"),
        Stored([("y", 2, POST.at)]),
        Walked("c", "service a", 9.0, 9.1, "acknowledged", "", 0, 0, ["y"]),
    ]
    for each in records:
        recorder.add(each)
    recorder.close()
    (folder / PLAN).write_text(json.dumps(asdict(Plan(1, 2, 0, 10.0))))
    return folder


def test_totals_are_told(recorded: Path) -> None:
    found = histories(recorded)
    lines = table(found, judged(found)).splitlines()
    assert lines[1].split() == [*KILLED.kind.split(), "1", "1.5"]
    totals = {line.rsplit(None, 1)[0].strip(): line.rsplit(None, 1)[1] for line in lines[3:-1]}
    assert totals == dict.fromkeys(CHECKERS, "0") | {
        "faults": "2", "acknowledged writes": "2", "requests": "3", "lost": "1", "hands": "1",
    }  # fmt: skip


def test_a_finding_is_told_with_the_fault_it_came_with(recorded: Path) -> None:
    found = histories(recorded)
    text = told(found, [*judged(found), Finding("cut", 99.0, "a request got no answer")])
    assert "lost: 'x' was acknowledged as number 1, and is not stored" in text
    assert "0.50 s after fault 1 of 1 began: primary killed + worker killed" in text
    assert "cut: a request got no answer\n    with no fault" in text


def test_a_kept_history_is_checked_again(recorded: Path) -> None:
    ended = invoke(command, "--replay", recorded)
    assert ended.returncode == 1
    assert "lost: 'x'" in ended.stdout


def test_a_folder_without_a_history_is_refused(tmp_path: Path) -> None:
    assert "history.jsonl" in complaint(invoke(command, "--replay", tmp_path), 1)


def test_a_kind_that_there_is_not_is_refused() -> None:
    ended = invoke(command, "--only", "earthquake")
    assert ended.returncode == 2
    assert "earthquake" in ended.stderr
