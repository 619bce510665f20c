"""Summaries: every request counts as what it is, and a run that lacks a part is void and says why."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from loadtests.ingest import Run
from loadtests.request_log import quoted
from loadtests.summary import summarize
from tests.loadtests import recorded

BEGAN = recorded.BEGAN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return recorded.write(tmp_path / "run")


def add(folder: Path, file: str, *lines: str) -> None:
    with (folder / file).open("a") as log:
        log.writelines(f"{line}\n" for line in lines)


# Callers who hang.


def test_a_request_without_an_answer_counts_with_as_long_as_it_waited(folder: Path) -> None:
    before = summarize(Run(folder))
    add(folder, "requests.csv", f"{BEGAN + 0.1},{BEGAN + 0.1},GET /messages,7000.000,0,unanswered")
    summary = summarize(Run(folder))
    assert summary["unanswered_per_s"] == before["unanswered_per_s"] + 0.5
    assert summary["p99_ms"] > 6000
    assert summary["requests_per_s"] == before["requests_per_s"]


def test_a_failure_after_the_measured_time_is_one_of_the_measured_time_if_it_was_due_then(folder: Path) -> None:
    before = summarize(Run(folder))["failed_per_s"]
    add(folder, "requests.csv", f"{BEGAN + 0.1},{BEGAN + 0.1},GET /messages,5000.000,503,failed")
    assert summarize(Run(folder))["failed_per_s"] == before + 0.5


def test_without_a_rate_who_waits_all_the_time_counts_although_the_request_was_sent_before(folder: Path) -> None:
    before = summarize(Run(folder))["failed_per_s"]
    add(folder, "requests.csv", f"{BEGAN - 0.5},{BEGAN - 0.5},GET /messages,5000.000,503,failed")
    assert summarize(Run(folder))["failed_per_s"] == before + 0.5


def test_with_a_rate_only_what_was_due_in_the_measured_time_counts(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["load"]["rate"] = 10.0
    (folder / "run.json").write_text(json.dumps(record))
    before = summarize(Run(folder))["failed_per_s"]
    add(folder, "requests.csv", f"{BEGAN - 0.5},{BEGAN - 0.5},GET /messages,5000.000,503,failed")
    assert summarize(Run(folder))["failed_per_s"] == before


# Parts of the load generator that are missing.


def test_a_worker_that_dies_voids_the_run(folder: Path) -> None:
    add(folder, "workers.csv", f"{BEGAN - 1},1,0.000")
    add(folder, "generator.csv", *(f"{BEGAN - 1 + number / 50},1,1.0" for number in range(75)))
    assert summarize(Run(folder))["void"] == (
        "Locust's worker 1 was silent from 0.5 s on, for 1.5 s: its part is missing"
    )


def test_a_worker_that_never_says_anything_voids_the_run(folder: Path) -> None:
    add(folder, "workers.csv", f"{BEGAN - 1},1,0.000")
    assert summarize(Run(folder))["void"].startswith("Locust's worker 1 was silent from 0.0 s on, for 2.0 s")


def test_a_worker_that_falls_silent_for_a_while_voids_the_run(folder: Path) -> None:
    add(folder, "workers.csv", f"{BEGAN - 1},1,0.000")
    beats = [number / 50 for number in range(-50, 100) if not 20 < number < 80]
    add(folder, "generator.csv", *(f"{BEGAN + beat},1,1.0" for beat in beats))
    assert summarize(Run(folder))["void"].startswith("Locust's worker 1 was silent from 0.4 s on, for 1.2 s")


def test_the_measured_time_begins_when_all_workers_have_begun(folder: Path) -> None:
    before = Run(folder).began
    add(folder, "generator.csv", *(f"{BEGAN - 0.6 + number / 50},1,1.0" for number in range(150)))
    run = Run(folder)
    assert run.began == pytest.approx(before + 0.4)
    assert summarize(run)["void"] == ""


def test_workers_that_begin_too_far_apart_void_the_run(folder: Path) -> None:
    add(folder, "generator.csv", *(f"{BEGAN + 0.2 + number / 50},1,1.0" for number in range(200)))
    add(folder, "cpu.csv", f"{BEGAN + 4},server,11,3.0")
    assert summarize(Run(folder))["void"] == "Locust's workers began 1.2 s apart, and more than 1 s is too much"


@pytest.mark.parametrize(
    ("clocks", "void"),
    [
        ((4.0, 9.0), ""),
        ((700.0, 5.0), ""),  # a report that took long on its way
        ((3200.0, 3210.0), "the clock of Locust's worker 0 is 3.2 s behind the master's"),
        ((-1500.0, -1490.0), "the clock of Locust's worker 0 is 1.5 s ahead of the master's"),
    ],
)
def test_a_worker_with_another_clock_voids_the_run(folder: Path, clocks: tuple[float, float], void: str) -> None:
    add(folder, "workers.csv", *(f"{BEGAN + 1},0,{clock:.3f}" for clock in clocks))
    assert summarize(Run(folder))["void"] == void


def test_where_the_machine_is_full_that_is_said_with_who_used_it(tmp_path: Path) -> None:
    folder = recorded.write(tmp_path / "run", late_ms=4.0)
    cpu = (folder / "cpu.csv").read_text()
    (folder / "cpu.csv").write_text(
        re.sub(r"(machine,0,)10(\d)", lambda found: f"{found[1]}{100 + 2 * int(found[2])}", cpu)
    )
    assert summarize(Run(folder))["void"] == (
        "the machine was full (the server 0.3, mongod 0.1, Locust 0.5 of 2 cores)"
    )


# Healthy runs.


def test_a_server_that_renews_its_workers_is_no_server_that_died(folder: Path) -> None:
    lines = (folder / "cpu.csv").read_text().splitlines()
    # The first process ends half a second into the measured time, and another takes its place.
    kept = [line for line in lines if ",server," not in line or line < f"{BEGAN + 1:.0f}"]
    new = [f"{BEGAN + 0.5:.6f},server,15,0.000000", f"{BEGAN + 2.5:.6f},server,15,0.400000"]
    (folder / "cpu.csv").write_text("\n".join([*kept, *new]) + "\n")
    summary = summarize(Run(folder))
    assert (summary["lost"], summary["void"]) == ("", "")
    assert summary["server_cores"] == pytest.approx((0.1 + 0.3) / 2)


@pytest.mark.parametrize(
    "name", ["", "N/A", "unsent", "Aggregated", "a, b", "nan", 'say "hello"', "two\nlines", "é\u2028"]
)
def test_a_request_may_have_any_name(folder: Path, name: str) -> None:
    add(folder, "requests.csv", f"{BEGAN + 0.1},{BEGAN + 0.1},{quoted(name)},1.000,200,ok")
    run = Run(folder)
    assert run.requests["name"].iloc[-1] == name
    assert run.requests["outcome"].iloc[-1] == "ok"
    assert summarize(run)["unsent_per_s"] == 0.5


def test_a_request_named_as_locust_names_its_sum_is_told_from_it(folder: Path) -> None:
    line = "GET,Aggregated,3,0,20.0,82.7,0.5,600.0,540.2,2.8,0.3,20,50,100,100,600,600,600,600,600,600,600"
    add(folder, "locust_stats.csv", line)
    assert Run(folder).stats["name"].tolist() == ["GET /messages", "POST /messages refused", "Aggregated"]


def test_each_file_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_csv = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda path, **options: read.append(path.name) or read_csv(path, **options))
    summarize(Run(folder))
    assert len(read) == len(set(read))
