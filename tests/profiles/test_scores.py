"""The scores of the measuring in their short form: the faults are there, and they are found."""

from pathlib import Path

import pytest

from profiles import scores
from profiles.__main__ import command
from tests.in_process import invoke


@pytest.fixture(autouse=True)
def runs(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the run folders of a test go."""
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    monkeypatch.setattr("loadtests.folders.RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.mark.timeout(600)  # a comparison starts many servers, one after another
@pytest.mark.parametrize("name", scores.SCORES)
def test_every_score_is_good_in_its_short_form(name: str) -> None:
    ended = invoke(command, "score", "--short", name)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.rstrip().endswith(": good")


def test_every_score_but_the_presence_of_the_fault_says_how_often_it_is_taken() -> None:
    assert set(scores.SCORES) - set(scores.FULL.times) == {"present"}
