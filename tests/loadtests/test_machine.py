"""The machine, and the processes that take part in a run."""

import re
import subprocess
import sys

import psutil

from loadtests import machine
from tests.processes import free_port


def test_where_nobody_listens_nobody_is_found() -> None:
    assert machine.behind(f"http://127.0.0.1:{free_port()}").pids() == {"server": [], "mongod": []}


def test_processor_time_is_the_sum_of_a_role() -> None:
    this = psutil.Process()
    once = machine.Processes({"tests": [this]}).cpu_seconds()["tests"]
    twice = machine.Processes({"tests": [this, this]}).cpu_seconds()["tests"]
    assert 0 < once < twice


def test_a_process_that_has_ended_is_no_trouble() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        gone = psutil.Process(process.pid)
    assert machine.Processes({"tests": [gone]}).cpu_seconds() == {"tests": 0.0}


def test_the_machine_is_described() -> None:
    about = machine.describe()
    assert about["processor"]
    assert about["cores"] >= 1
    assert about["memory_gib"] > 0
    assert set(about["packages"]) == set(machine.PACKAGES)


def test_the_commit_is_a_whole_one_and_says_if_it_was_changed() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", machine.commit() or "0" * 40)
