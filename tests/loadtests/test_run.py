"""Real runs of Locust: what they leave behind, and how they fail."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import requests

from harness import watch
from harness.ports import free_port
from harness.servers import Server
from loadtests import service
from loadtests.ingest import Run
from loadtests.run import Load, RunError, run
from loadtests.summary import summarize
from tests.processes import stopped, using
from tests.waiting import eventually

MIXED = Load("mixed", users=4, seconds=0.75, warmup=0.25)
RATE, USERS = 20.0, 8


@pytest.fixture(scope="module")
def mixed(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one short run, which several tests look at."""
    folder = tmp_path_factory.mktemp("runs") / "mixed"
    return run(MIXED, shared_server.url, folder, settings={"cache": "ttl"})


# Who takes part.


def test_the_server_and_its_mongod_are_found_and_nobody_else(shared_server: Server) -> None:
    with requests.Session() as caller:
        # A caller that is connected, as Locust is: not to be taken for the server.
        caller.get(f"{shared_server.url}/readyz")
        roles = watch.behind(shared_server.url).roles
    assert [process.pid for process in roles["server"]] == [shared_server.pid]
    assert [process.name() for process in roles["mongod"]] == ["mongod"]


# What a run leaves behind.


def test_the_folder_holds_locusts_own_files_and_ours(mixed: Path) -> None:
    assert {file.name for file in mixed.iterdir()} == {
        "locust_stats.csv",
        "locust_stats_history.csv",
        "locust_failures.csv",
        "locust_exceptions.csv",
        "locust.log",
        "locust.out",
        "requests.csv",
        "cpu.csv",
        "metrics.csv",
        "generator.csv",
        "workers.csv",
        "run.json",
    }


def test_the_record_tells_how_to_do_it_again(mixed: Path, shared_server: Server) -> None:
    record = Run(mixed).record
    assert set(record) == {
        "command",
        "load",
        "url",
        "settings",
        "commit",
        "machine",
        "processes",
        "warnings",
    }
    assert Load(**record["load"] | {"locust": (), "headers": {}}) == MIXED
    assert "loadtests.start_locust" in record["command"]
    assert record["url"] == shared_server.url
    assert record["settings"] == {"cache": "ttl"}
    assert record["processes"]["server"] == [shared_server.pid]
    assert len(record["processes"]["mongod"]) == len(record["processes"]["locust"]) == 1


def test_mixed_is_as_many_reads_as_writes(mixed: Path) -> None:
    counts = Run(mixed).requests["name"].value_counts().to_dict()
    assert set(counts) == {"GET /messages", "POST /messages"}
    assert abs(counts["GET /messages"] - counts["POST /messages"]) <= MIXED.users


def test_every_request_succeeded(mixed: Path) -> None:
    assert set(Run(mixed).requests["outcome"]) == {"ok"}
    assert Run(mixed).stats["failures"].sum() == 0
    assert summarize(Run(mixed))["requests_per_s"] > 0


def test_locusts_summary_counts_the_requests_of_the_log_but_for_its_last_second(mixed: Path) -> None:
    logged = Run(mixed).requests.groupby("name")["sent_s"]
    counted = Run(mixed).stats.set_index("name")["requests"]
    for name, sent in logged:
        assert (sent < sent.max() - 1.1).sum() <= counted[name] <= len(sent)


def test_everybody_who_took_part_used_the_processor(mixed: Path) -> None:
    summary = summarize(Run(mixed))
    for name in ("server_us", "mongod_us", "server_cores", "mongod_cores", "locust_cores", "machine_cores"):
        assert summary[name] > 0, name


def test_the_load_lasts_for_all_of_the_measured_time(mixed: Path) -> None:
    assert summarize(Run(mixed))["lost"] == ""
    assert Run(mixed).requests["sent_s"].max() > MIXED.seconds


def test_processor_time_only_grows(mixed: Path) -> None:
    for _, samples in Run(mixed).cpu.groupby(["role", "pid"]):
        assert samples["time_s"].is_monotonic_increasing
        assert samples["cpu_seconds"].is_monotonic_increasing


def test_the_service_was_asked_for_its_metrics(mixed: Path) -> None:
    assert {service.IN_FLIGHT, f"{service.LAG}_sum"} <= set(Run(mixed).metrics["name"])
    assert summarize(Run(mixed))["waiting"] >= 1


def test_without_a_rate_a_request_is_due_when_it_is_sent(mixed: Path) -> None:
    rows = Run(mixed).requests
    assert rows["due_s"].tolist() == rows["sent_s"].tolist()
    assert (rows["from_due_ms"] == rows["from_send_ms"]).all()


# An open system: requests are due at a constant rate, whatever the server does.


def test_requests_are_due_at_a_constant_rate_and_late_while_the_server_stands_still(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server, folder = start_server(), tmp_path / "run"
    load = Load("reads", users=2, seconds=2.0, warmup=0.0, rate=50, fast=True)

    def stand_still() -> None:
        eventually(lambda: (folder / "requests.csv").exists() and len((folder / "requests.csv").read_text()) > 100)
        with stopped(psutil.Process(server.pid)):
            time.sleep(0.5)  # not to wait for something: this is the fault

    with ThreadPoolExecutor(1) as background:
        fault = background.submit(stand_still)
        run(load, server.url, folder)
        fault.result()
    rows = Run(folder).measured.sort_values("due_s")
    assert rows["due_s"].diff().dropna().tolist() == pytest.approx([1 / 50] * (len(rows) - 1), abs=0.001)
    # Two users were hit; but every request that was due meanwhile had to wait.
    assert (rows["from_send_ms"] > 250).sum() <= 4
    assert (rows["from_due_ms"] > 250).sum() >= 10


def test_what_nobody_was_free_to_send_is_in_the_log(start_server: Callable[..., Server], tmp_path: Path) -> None:
    load = Load("writes", users=1, seconds=1.0, warmup=0.0, rate=50_000, fast=True)
    folder = run(load, start_server().url, tmp_path / "run")
    summary = summarize(Run(folder))
    assert summary["unsent_per_s"] > summary["requests_per_s"] > 0
    assert len(Run(folder).measured) == pytest.approx(50_000, rel=0.001)


def test_locust_in_several_processes_keeps_one_log(shared_server: Server, tmp_path: Path) -> None:
    load = Load("reads", users=2, seconds=1.0, warmup=0.0, rate=40, processes=2)
    folder = run(load, shared_server.url, tmp_path / "run")
    assert set(Run(folder).generator["worker"]) == {0, 1}
    # The master took no part, and its workers' schedules together are the whole.
    assert len(Run(folder).measured) == pytest.approx(40, abs=3)
    assert set(Run(folder).measured["outcome"]) == {"ok"}
    assert len(Run(folder).record["processes"]["locust"]) == 3


@pytest.mark.parametrize("more", [{"processes": 2}, {"locust": ("--processes=2",)}])
def test_two_runs_of_several_processes_do_not_meet(shared_server: Server, tmp_path: Path, more: dict[str, Any]) -> None:
    load = Load("reads", users=2, seconds=0.5, warmup=0.0, rate=20, **more)
    with ThreadPoolExecutor(2) as background:
        runs = [background.submit(run, load, shared_server.url, tmp_path / name) for name in ("one", "other")]
        assert [len(Run(each.result()).measured) for each in runs] == pytest.approx([10, 10], abs=2)


def test_a_server_that_dies_leaves_nothing_to_quote(start_server: Callable[..., Server], tmp_path: Path) -> None:
    server, folder = start_server(), tmp_path / "run"

    def die() -> None:
        eventually(lambda: (folder / "requests.csv").exists() and len((folder / "requests.csv").read_text()) > 100)
        server.process.kill()

    with ThreadPoolExecutor(1) as background:
        fault = background.submit(die)
        run(Load("reads", users=2, seconds=2.0, warmup=0.0, rate=40), server.url, folder)
        fault.result()
    summary = summarize(Run(folder))
    assert summary["lost"].startswith(f"the server (process {server.pid}) ended ")
    assert summary["server_us"] >= 0


# A rate, and nobody there.


@pytest.fixture(scope="module")
def absent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a rate, on a port where nobody listens."""
    folder = tmp_path_factory.mktemp("runs") / "absent"
    return run(Load("mixed", USERS, seconds=1.0, warmup=0.0, rate=RATE), f"http://127.0.0.1:{free_port()}", folder)


def test_a_service_that_is_not_there_is_many_failures_and_no_crash(absent: Path) -> None:
    assert set(Run(absent).requests["outcome"]) == {"failed"}
    assert Run(absent).stats["failures"].sum() > 0
    assert summarize(Run(absent))["failed_per_s"] > 0


def test_the_processor_time_of_a_server_that_was_not_found_is_unknown(absent: Path) -> None:
    assert pd.isna(summarize(Run(absent))["server_us"])


def test_a_rate_is_not_exceeded(absent: Path) -> None:
    sent = Run(absent).requests["sent_s"]
    assert 0 < len(sent) <= RATE * (sent.max() - sent.min()) + USERS


def test_at_a_rate_callers_do_not_come_in_bursts(absent: Path) -> None:
    # If all came at once, each would wait for the others, and latency would be that of a queue.
    sent = Run(absent).requests["sent_s"].sort_values()
    after_the_first_of_each = sent[sent > USERS / RATE]
    assert after_the_first_of_each.diff().median() > 0.05 / RATE


# What cannot be run.


@pytest.mark.parametrize(
    ("wrong", "blamed"),
    [
        ({"scenario": "nothing"}, "name one of reads, writes, patient, mixed, conversation"),
        ({"users": 0}, "users"),
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"seconds": float("inf")}, "seconds"),
        ({"warmup": -1.0}, "warmup"),
        ({"rate": 0.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
    ],
)
def test_an_impossible_load_is_refused(wrong: dict[str, Any], blamed: str) -> None:
    with pytest.raises(ValueError, match=blamed):
        Load(**{"scenario": "reads"} | wrong)


def test_a_locust_that_does_not_start_is_quoted(
    shared_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUST_LOGLEVEL", "nonsense")
    with pytest.raises(RunError, match=r"exit code 2: .*loglevel"):
        run(MIXED, shared_server.url, tmp_path / "run")


@pytest.mark.parametrize("folder", ["file", "file/inside", "x" * 300])
def test_a_folder_that_cannot_be_made_is_named(shared_server: Server, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=folder):
        run(MIXED, shared_server.url, tmp_path / folder)


@pytest.mark.parametrize(
    ("send", "number"),
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGINT), (os.kill, signal.SIGTERM)],
    ids=["Ctrl-C in a terminal", "Ctrl-C in a notebook", "SIGTERM"],
)
def test_who_is_stopped_leaves_no_locust_behind(
    shared_server: Server, tmp_path: Path, send: Callable[[int, int], None], number: signal.Signals
) -> None:
    """A terminal sends Ctrl-C to the whole process group, a notebook to its kernel alone."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "loadtests", "run", "reads", "--seconds", "60", "--rate", "20"]
    with subprocess.Popen(
        [*command, "--url", shared_server.url, "--folder", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as person:
        eventually((folder / "requests.csv").exists)
        send(person.pid, number)
        _, said = person.communicate(timeout=20)
    assert person.returncode == 1
    assert "Traceback" not in said
    assert not using(folder)
