"""Real runs of Locust: what they leave behind, and how they fail."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests

from loadtests import ingest, machine
from loadtests.run import Load, RunError, run
from server.launch import RunningServer
from tests.processes import free_port, using
from tests.waiting import eventually

MIXED = Load("mixed", users=4, seconds=0.75, warmup=0.25)
RATE, USERS = 20.0, 8


@pytest.fixture(scope="module")
def mixed(shared_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one short run, which several tests look at."""
    folder = tmp_path_factory.mktemp("runs") / "mixed"
    return run(MIXED, shared_server.url, folder, settings={"cache": "ttl"})


# Who takes part.


def test_the_server_and_its_mongod_are_found_and_nobody_else(shared_server: RunningServer) -> None:
    with requests.Session() as caller:
        # A caller that is connected, as Locust is: not to be taken for the server.
        caller.get(f"{shared_server.url}/readyz")
        roles = machine.behind(shared_server.url).roles
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
        "run.json",
    }


def test_the_record_tells_how_to_do_it_again(mixed: Path, shared_server: RunningServer) -> None:
    record = ingest.record(mixed)
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
    assert record["load"] == {"scenario": "mixed", "users": 4, "seconds": 0.75, "warmup": 0.25, "rate": None}
    assert "locust" in record["command"]
    assert record["url"] == shared_server.url
    assert record["settings"] == {"cache": "ttl"}
    assert record["processes"]["server"] == [shared_server.pid]
    assert len(record["processes"]["mongod"]) == len(record["processes"]["locust"]) == 1


def test_mixed_is_as_many_reads_as_writes(mixed: Path) -> None:
    counts = ingest.requests(mixed)["name"].value_counts().to_dict()
    assert set(counts) == {"GET /messages", "POST /messages"}
    assert abs(counts["GET /messages"] - counts["POST /messages"]) <= MIXED.users


def test_every_request_succeeded(mixed: Path) -> None:
    assert set(ingest.requests(mixed)["outcome"]) == {"ok"}
    assert ingest.stats(mixed)["failures"].sum() == 0
    assert ingest.summary(mixed)["requests_per_s"] > 0


def test_locusts_summary_counts_every_request_of_the_log(mixed: Path) -> None:
    logged = ingest.requests(mixed)["name"].value_counts().to_dict()
    assert ingest.stats(mixed).set_index("name")["requests"].to_dict() == logged


def test_everybody_who_took_part_used_the_processor(mixed: Path) -> None:
    summary = ingest.summary(mixed)
    for name in ("server_us", "mongod_us", "server_cores", "mongod_cores", "locust_cores"):
        assert summary[name] > 0, name


def test_processor_time_only_grows(mixed: Path) -> None:
    for _, samples in ingest.cpu(mixed).groupby("role"):
        assert samples["time_s"].is_monotonic_increasing
        assert samples["cpu_seconds"].is_monotonic_increasing


# A rate, and nobody there.


@pytest.fixture(scope="module")
def absent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a rate, on a port where nobody listens."""
    folder = tmp_path_factory.mktemp("runs") / "absent"
    return run(Load("mixed", USERS, seconds=1.0, warmup=0.0, rate=RATE), f"http://127.0.0.1:{free_port()}", folder)


def test_a_service_that_is_not_there_is_many_failures_and_no_crash(absent: Path) -> None:
    assert set(ingest.requests(absent)["outcome"]) == {"failed"}
    assert ingest.stats(absent)["failures"].sum() > 0
    assert ingest.summary(absent)["failed_per_s"] > 0


def test_the_processor_time_of_a_server_that_was_not_found_is_unknown(absent: Path) -> None:
    assert pd.isna(ingest.summary(absent)["server_us"])


def test_a_rate_is_not_exceeded(absent: Path) -> None:
    sent = ingest.requests(absent)["time_s"]
    assert 0 < len(sent) <= RATE * (sent.max() - sent.min()) + USERS


def test_at_a_rate_callers_do_not_come_in_bursts(absent: Path) -> None:
    # If all came at once, each would wait for the others, and latency would be that of a queue.
    sent = ingest.requests(absent)["time_s"].sort_values()
    after_the_first_of_each = sent[sent > USERS / RATE]
    assert after_the_first_of_each.diff().median() > 0.05 / RATE


# What cannot be run.


@pytest.mark.parametrize(
    ("wrong", "blamed"),
    [
        ({"scenario": "nothing"}, "name one of reads, writes, mixed"),
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
    shared_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUST_LOGLEVEL", "nonsense")
    with pytest.raises(RunError, match=r"exit code 2: .*loglevel"):
        run(MIXED, shared_server.url, tmp_path / "run")


@pytest.mark.parametrize("folder", ["file", "file/inside", "x" * 300])
def test_a_folder_that_cannot_be_made_is_named(shared_server: RunningServer, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=folder):
        run(MIXED, shared_server.url, tmp_path / folder)


@pytest.mark.parametrize("interrupt", [os.killpg, os.kill], ids=["in a terminal", "in a notebook"])
def test_ctrl_c_leaves_no_locust_behind(
    shared_server: RunningServer, tmp_path: Path, interrupt: Callable[[int, int], None]
) -> None:
    """A terminal sends it to the whole process group, a notebook to its kernel alone."""
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
        interrupt(person.pid, signal.SIGINT)
        _, said = person.communicate(timeout=20)
    assert person.returncode == 1
    assert "Traceback" not in said
    assert not using(folder)
