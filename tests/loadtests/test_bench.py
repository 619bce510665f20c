"""`make bench`: a short real run of one row, void rows, and what it says when it cannot measure."""

import csv
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtests import bench
from loadtests.__main__ import command
from loadtests.bench import MOST_REPEATED, Result, table
from loadtests.bench_loads import Sample, reads, writes
from loadtests.bench_servers import BEST, Peer, Service
from loadtests.rows import ROWS, Goal, Row, Side
from server.settings import Settings
from tests.commands import complaint
from tests.in_process import invoke

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt-get install wrk")
READS = Row(
    "reads",
    Side("theirs", Peer("fastapi_constant"), reads),
    Side("ours", Peer("tornado_constant"), reads),
    (Goal("Tornado ÷ FastAPI", "requests_per_s", "/s", 0.001),),
    times=2,
)
# Servers of given bytes take no messages: 405.
REFUSED = Row("refused", Side("theirs", Peer("fastapi_constant"), writes), READS.ours, READS.goals)
LATENCY = Goal("latency", "p50_ms", " ms", 1.15, at_most=True)
SHARE = Goal("share", "admitted_per_s", "/s", 0.95, against=500)


# A real run.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench") / "run"


@pytest.fixture(scope="module")
def results(mongodb_uri: str, folder: Path) -> Iterator[list[Result]]:
    """Two rows, of which one is void, which several tests look at."""
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed: apt-get install wrk")
    body = folder.parent / "body"
    body.write_bytes(b"{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_MONGODB_URI", mongodb_uri)
        patch.setattr("loadtests.bench_servers.Workspace.body", body)
        before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        yield bench.measure([REFUSED, READS], folder, rounds=2, seconds=1)
        if before is not None:
            assert os.sched_getaffinity(0) == before


def test_each_round_loads_both_sides_in_turns(results: list[Result], folder: Path) -> None:
    assert results[1].void == ""
    with (folder / "samples.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["row"] == "reads" and line["metric"] == "requests_per_s"]
    assert [(line["round"], line["side"]) for line in lines] == [
        ("1", "theirs"),
        ("1", "ours"),
        ("2", "ours"),
        ("2", "theirs"),
    ]
    assert all(float(line["value"]) > 0 for line in lines)
    began = [float(line["began"]) for line in lines]
    assert began[1] - began[0] >= 2  # twice the second that was asked for, as the row has it


def test_the_table_has_a_line_for_each_goal(results: list[Result], folder: Path) -> None:
    head, rule, refused, read = bench.table(results).splitlines()
    assert re.split(r"\s{2,}", head) == ["row", "what", "goal", "measured [95 % interval]", "verdict", "medians"]
    assert set(rule) == {"-", " "}
    assert re.fullmatch(
        r"reads +Tornado ÷ FastAPI +at least 0\.001 +[\d.]+ \[[\d.]+, [\d.]+\] +pass +\S+ ÷ \S+/s", read
    )
    assert re.fullmatch(
        r"refused +Tornado ÷ FastAPI +at least 0\.001 +– +void +theirs, round 1: (\d+) of \1 answers were not 2xx",
        refused,
    )
    assert (folder / "table.txt").read_text() == bench.table(results) + "\n"


def test_the_run_is_recorded_and_its_data_removed(results: list[Result], folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    assert (record["rounds"], record["seconds"], record["given_mongodb"]) == (2, 1, True)
    assert [row["name"] for row in record["rows"]] == ["refused", "reads"]
    assert [row["times"] for row in record["rows"]] == [1, 2]
    assert record["rows"][0]["void"] == results[0].void != ""
    assert record["rows"][1]["goals"][0]["verdict"] == "pass"
    assert {"machine", "commit", "peers", "wrk", "cores"} <= set(record)
    assert {path.name for path in folder.iterdir()} == {"samples.csv", "run.json", "table.txt", "logs"}


# Verdicts, from samples made up for the purpose.


def result(goal: Goal, base: list[float], ours: list[float], void: str = "") -> Result:
    row = Row("row", READS.base, READS.ours, (goal,))
    return Result(row, *([Sample({goal.metric: value}) for value in side] for side in (base, ours)), void)


def verdict(found: Result) -> str:
    return re.split(r"\s{2,}", bench.table([found]).splitlines()[2])[4]


@pytest.mark.parametrize(
    ("goal", "ours", "said"),
    [
        (LATENCY, [11.0, 11.0], "pass"),
        (LATENCY, [12.0, 12.0], "short"),
        (READS.goals[0], [10.0, 10.0], "pass"),
        (READS.goals[0], [0.001, 0.001], "short"),
        (SHARE, [480.0, 490.0], "pass"),
        (SHARE, [400.0, 450.0], "short"),
    ],
)
def test_a_goal_is_a_bound_from_the_side_it_names(goal: Goal, ours: list[float], said: str) -> None:
    assert verdict(result(goal, [10.0, 10.0], ours)) == said


def test_one_round_has_no_interval() -> None:
    line = bench.table([result(LATENCY, [60.0], [63.0])]).splitlines()[2]
    assert "1.05 (once)" in line


def test_a_round_in_which_the_generator_was_late_is_repeated_and_said_to_be() -> None:
    goal = READS.goals[0]
    late = result(goal, [], [])
    good, bad = Sample({goal.metric: 1.0}), Sample({goal.metric: 9.0}, late="the generator was late")
    late.add(1, [(late.row.base, 0.0, good), (late.row.ours, 0.0, bad)])
    for number in (1, 2):
        late.add(number, [(late.row.base, 0.0, good), (late.row.ours, 0.0, good)])
    assert (late.base, late.ours, late.repeated, late.void) == ([good, good], [good, good], 1, "")
    assert "1 repeated" in table([late])
    for _ in range(MOST_REPEATED):
        late.add(3, [(late.row.base, 0.0, good), (late.row.ours, 0.0, bad)])
    assert "4 rounds were to be repeated" in late.void


def test_a_void_row_is_no_pass_whatever_its_numbers() -> None:
    assert verdict(result(READS.goals[0], [1.0, 1.0], [9.0, 9.0], void="3 socket errors or timeouts")) == "void"


# The rows, and the command.


def test_the_service_understands_the_settings_of_every_row() -> None:
    for side in (side for row in ROWS for side in (row.base, row.ours)):
        if isinstance(side.server, Service):
            assert set(BEST | side.server.settings) <= set(Settings.__dataclass_fields__)


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) > 0


def test_without_wrk_it_says_so_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = invoke(command, "bench", "tornado", "--folder", tmp_path / "run")
    assert "apt-get install wrk" in complaint(ended, 1)
    assert list(tmp_path.iterdir()) == []


@needs_wrk
def test_a_void_row_is_no_success_and_the_table_is_printed_all_the_same(
    mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    monkeypatch.setattr("loadtests.__main__.ROWS", [Row("tornado", REFUSED.base, REFUSED.ours, REFUSED.goals)])
    monkeypatch.setattr("loadtests.bench_servers.Workspace.body", Path(__file__))
    ended = CliRunner().invoke(
        command, ["bench", "tornado", "--rounds", "2", "--seconds", "1", "--folder", str(tmp_path / "run")]
    )
    assert ended.exit_code == 1
    assert len(ended.stdout.splitlines()) == 3
    assert "void" in ended.stdout
    assert ended.stderr.splitlines()[-1] == "Error: void, so nothing is said about them: tornado"


def test_a_folder_that_exists_is_not_written_to(tmp_path: Path) -> None:
    assert str(tmp_path) in complaint(invoke(command, "bench", "--folder", tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "blamed"),
    [(["nothing"], "nothing"), (["--rounds", "1"], "--rounds"), (["--seconds", "0"], "--seconds")],
)
def test_bad_usage(arguments: list[str], blamed: str) -> None:
    assert blamed in complaint(invoke(command, "bench", *arguments), 2)
