"""Run folders as DataFrames: figures that were worked out by hand, and folders that are broken."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from loadtests import ingest
from loadtests.ingest import IngestError, Run
from loadtests.summary import summarize
from tests.loadtests import recorded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return recorded.write(tmp_path / "run")


def test_the_measured_time_begins_after_the_warm_up(folder: Path) -> None:
    assert Run(folder).began == recorded.BEGAN
    due = Run(folder).requests["due_s"]
    assert due.min() == pytest.approx(-1.0)
    assert due.max() == pytest.approx(1.95)


def test_each_request_has_an_outcome(folder: Path) -> None:
    rows = Run(folder).requests
    assert list(rows.columns) == ["due_s", "sent_s", "name", "from_due_ms", "from_send_ms", "status", "outcome"]
    outcomes = rows.groupby("status")["outcome"].unique().str.join(" ").to_dict()
    assert outcomes == {0: "failed unsent", 200: "ok", 201: "ok", 304: "ok", 429: "refused", 503: "failed"}


def test_a_request_waits_from_when_it_was_due(folder: Path) -> None:
    rows = Run(folder).requests
    late = rows[rows["status"] == 201]
    assert late["from_send_ms"].tolist() == [8.0]
    assert late["from_due_ms"].tolist() == pytest.approx([14.0], abs=0.001)


def test_a_request_that_was_never_sent_has_waited_to_the_end(folder: Path) -> None:
    rows = Run(folder).requests
    assert rows.loc[rows["outcome"] == "unsent", "from_due_ms"].tolist() == pytest.approx([1100.0], abs=0.001)


def test_what_was_due_in_the_warm_up_is_not_measured_and_what_was_answered_late_is(folder: Path) -> None:
    assert Run(folder).measured["from_send_ms"].tolist() == [4, 8, 2, 30, 20, 0.5, 100, 0]


@pytest.mark.parametrize(
    ("begin", "end", "milliseconds"), [(-1, 0, [10, 50]), (0, 0.5, [600, 4]), (2, 3, [100]), (3, 4, [])]
)
def test_any_slice_of_time_can_be_looked_at(folder: Path, begin: float, end: float, milliseconds: list[float]) -> None:
    assert Run(folder).answered(begin, end)["from_send_ms"].tolist() == milliseconds


def test_the_summary(folder: Path) -> None:
    # Four were answered with success in two seconds, and the server used 0.6 s meanwhile, mongod 0.2 s.
    # Four were due and answered with success, after 4, 14, 20 and 100 ms; one has waited for 1100 ms.
    assert summarize(Run(folder)) == pytest.approx(
        {
            "requests_per_s": 2.0,
            "refused_per_s": 0.5,
            "failed_per_s": 1.0,
            "unanswered_per_s": 0.0,
            "unsent_per_s": 0.5,
            "p50_ms": 20.0,
            "p95_ms": 900.0,
            "p99_ms": 1060.0,
            "p99_from_send_ms": 97.6,
            "server_us": 150_000.0,
            "mongod_us": 50_000.0,
            "server_cores": 0.3,
            "mongod_cores": 0.1,
            "database_cores": float("nan"),
            "locust_cores": 0.5,
            "machine_cores": 1.0,
            "cores": 2,
            "server_busiest": 0.3,
            "locust_busiest": 0.5,
            "lag_ms": 2.0,
            "waiting": 3.0,
            "generator_late": 0.05,
            "void": "",
            "lost": "",
        },
        abs=0.001,
        nan_ok=True,
    )


def test_processor_time_between_samples_is_interpolated(folder: Path) -> None:
    assert Run(folder).cpu_seconds(0.25, 0.75) == pytest.approx(
        {"server": 0.15, "mongod": 0.05, "locust": 0.25, "machine": 0.5}
    )


def test_the_use_of_cores_from_sample_to_sample(folder: Path) -> None:
    rows = Run(folder).cpu
    assert list(rows.columns) == ["time_s", "role", "pid", "cpu_seconds", "cores"]
    cores = {role: samples["cores"].dropna().tolist() for role, samples in rows.groupby("role")}
    assert cores["server"] == pytest.approx([0.2, 0.4, 0.2])
    assert cores["locust"] == pytest.approx([0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("locust_cores", "warnings", "void"),
    [
        (0.79, [], ""),
        (0.81, [], "Locust used 81% of a core"),
        (0.5, ["[2026-11-22 17:00:00,000] lab/WARNING/root: CPU usage above 90%! This may constrain"], "CPU usage"),
        (0.5, ["[2026-11-22 17:00:00,000] lab/WARNING/root: something else"], ""),
    ],
)
def test_a_run_is_void_if_locust_was_the_limit(
    tmp_path: Path, locust_cores: float, warnings: list[str], void: str
) -> None:
    summary = summarize(Run(recorded.write(tmp_path / "run", locust_cores, warnings)))
    assert void in summary["void"]
    assert bool(summary["void"]) is bool(void)


def test_a_run_is_void_if_locust_did_not_get_the_processor(tmp_path: Path) -> None:
    # Late by 4 ms every 20 ms.
    summary = summarize(Run(recorded.write(tmp_path / "run", late_ms=4.0)))
    assert summary["void"] == "Locust was late by 20% of the time: it did not get the processor it needed"
    assert summary["lost"] == ""


def test_of_several_locust_processes_the_busiest_counts(folder: Path) -> None:
    with (folder / "cpu.csv").open("a") as cpu:
        cpu.writelines(f"{recorded.BEGAN + second},locust,14,{1 + 0.9 * second}\n" for second in (-0.5, 2.5))
    summary = summarize(Run(folder))
    assert summary["locust_cores"] == pytest.approx(1.4)
    assert summary["void"].startswith("Locust used 90% of a core")


def test_nothing_of_a_run_counts_in_which_the_server_died(folder: Path) -> None:
    lines = (folder / "cpu.csv").read_text().splitlines()
    alive = [line for line in lines if not line.startswith(("1700000002.5", "1700000003.5")) or ",server," not in line]
    (folder / "cpu.csv").write_text("\n".join(alive) + "\n")
    summary = summarize(Run(folder))
    assert summary["lost"] == summary["void"] == "the server (process 11) ended 0.5 s into the measured time"
    assert summary["server_us"] >= 0


def test_nothing_of_a_run_counts_in_which_a_behaviour_is_broken(folder: Path) -> None:
    with (folder / "locust_exceptions.csv").open("a") as file:
        file.write('3,KeyError: id,"  File ""scenarios.py""\n    in turn",local\n')
    assert Run(folder).exceptions["count"].tolist() == [3]
    assert summarize(Run(folder))["lost"] == "a behaviour of the scenario is broken: KeyError: id (3 times)"


def test_a_service_without_metrics_is_no_trouble(folder: Path) -> None:
    (folder / "metrics.csv").write_text("time,name,value\n")
    assert Run(folder).metrics.empty
    assert pd.isna(summarize(Run(folder))["lag_ms"])


def test_what_grew_meanwhile(folder: Path) -> None:
    assert Run(folder).increase("event_loop_lag_seconds_count", 0.0, 2.0) == 20
    assert Run(folder).increase("event_loop_lag_seconds_count", 0.5, 1.5) == 10
    assert pd.isna(Run(folder).increase("nothing", 0.0, 2.0))


def test_locusts_failures(folder: Path) -> None:
    rows = Run(folder).failures
    assert list(rows.columns) == list(ingest.FAILURES_COLUMNS.values())
    assert rows[["name", "count"]].values.tolist() == [["POST /messages", 1]]
    assert Run(folder).exceptions.empty


def test_the_cpu_of_a_role_without_processes_is_unknown_and_not_zero(folder: Path) -> None:
    # As it is when the server runs on another machine, or as another user.
    cpu = (folder / "cpu.csv").read_text()
    lines = [line for line in cpu.splitlines() if "mongod" not in line]
    (folder / "cpu.csv").write_text("\n".join(lines) + "\n")
    summary = summarize(Run(folder))
    assert pd.isna(summary["mongod_us"])
    assert pd.isna(summary["mongod_cores"])
    assert summary["server_us"] == pytest.approx(150_000)


# What Locust itself wrote.


def test_locusts_summary_is_a_row_for_each_name(folder: Path) -> None:
    rows = Run(folder).stats
    assert list(rows.columns) == list(ingest.STATS_COLUMNS.values())
    assert rows["name"].tolist() == ["GET /messages", "POST /messages refused"]
    assert rows["requests"].tolist() == [7, 1]
    assert rows["p95_ms"].isna().tolist() == [False, True]


def test_locusts_history_leaves_out_what_is_not_known_yet(folder: Path) -> None:
    rows = Run(folder).history
    assert list(rows.columns) == ["time_s", *list(ingest.HISTORY_COLUMNS.values())[1:]]
    assert rows.to_dict("records") == [
        {
            "time_s": 1,
            "method": "GET",
            "name": "GET /messages",
            "users": 4,
            "requests_per_s": 2.5,
            "failures_per_s": 0.5,
            "p50_ms": 20.0,
            "p95_ms": 60.0,
            "p99_ms": 70.0,
        }
    ]


# Folders that do not hold a whole run.

READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("workers.csv", lambda folder: Run(folder).workers),
    ("run.json", lambda folder: Run(folder).record),
    ("run.json", lambda folder: summarize(Run(folder))),
    ("requests.csv", lambda folder: summarize(Run(folder))),
    ("requests.csv", lambda folder: Run(folder).requests),
    ("cpu.csv", lambda folder: summarize(Run(folder))),
    ("cpu.csv", lambda folder: Run(folder).cpu),
    ("locust_stats.csv", lambda folder: Run(folder).stats),
    ("locust_stats_history.csv", lambda folder: Run(folder).history),
    ("locust_failures.csv", lambda folder: Run(folder).failures),
    ("locust_exceptions.csv", lambda folder: Run(folder).exceptions),
    ("metrics.csv", lambda folder: Run(folder).metrics),
    ("generator.csv", lambda folder: Run(folder).generator),
]
DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_text(""),
    "cut off in its first line": lambda file: file.write_text(file.read_text()[:6]),
    "not text": lambda file: file.write_bytes(b"\xff\xfe\x00\x9d" * 100),
}


@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_broken_file_is_named(
    folder: Path, name: str, read: Callable[[Path], object], damage: Callable[[Path], object]
) -> None:
    damage(folder / name)
    with pytest.raises(IngestError, match=name):
        read(folder)


@pytest.mark.parametrize("name", ["requests.csv", "cpu.csv", "locust_stats.csv", "locust_stats_history.csv"])
def test_a_file_of_which_only_the_heading_was_written_is_named(folder: Path, name: str) -> None:
    heading = (folder / name).read_text().splitlines()[0]
    (folder / name).write_text(heading + "\n")
    with pytest.raises(IngestError, match=f"{name} has no rows"):
        dict(READERS)[name](folder)


@pytest.mark.parametrize("name", ["requests.csv", "cpu.csv", "metrics.csv", "generator.csv"])
def test_a_file_whose_last_line_is_cut_off_is_named(folder: Path, name: str) -> None:
    text = (folder / name).read_text()
    (folder / name).write_text(text.rstrip().rpartition(",")[0])
    with pytest.raises(IngestError, match=name):
        summarize(Run(folder))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="nowhere"):
        summarize(Run(tmp_path / "nowhere"))


def test_a_run_without_a_success_has_no_latency(folder: Path) -> None:
    rows = re.sub(r"\d+,ok", "500,failed", recorded.REQUESTS)
    (folder / "requests.csv").write_text(rows)
    summary = summarize(Run(folder))
    assert summary["requests_per_s"] == 0
    assert pd.isna(summary["p99_from_send_ms"])
    # … but one request was never sent, and its caller has waited to the end.
    assert summary["p50_ms"] == pytest.approx(1100, abs=0.001)


def test_the_record_is_what_was_written(folder: Path) -> None:
    assert Run(folder).record == json.loads((folder / "run.json").read_text())
