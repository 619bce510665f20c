"""Describing the machine, and finding processes by their sockets."""

import subprocess
import sys
from pathlib import Path

import psutil

from harness import machine, watch
from harness.ports import free_port
from harness.processes import descendants, kill_all
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


def test_no_process_is_found_behind_a_free_port() -> None:
    assert watch.behind(f"http://127.0.0.1:{free_port()}").pids() == {"server": [], "mongod": []}


def test_cpu_time_of_each_process() -> None:
    this = psutil.Process()
    ((role, pid, seconds),) = watch.Processes({"tests": [this]}).cpu_seconds()
    assert (role, pid) == ("tests", this.pid)
    assert 0 < seconds <= machine.busy_seconds()


def test_a_zombie_has_no_cpu_time() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        ended = psutil.Process(process.pid)
        eventually(lambda: ended.status() == psutil.STATUS_ZOMBIE)
        assert watch.Processes({"tests": [ended]}).cpu_seconds() == []
    assert watch.Processes({"tests": [ended]}).cpu_seconds() == []
    assert descendants([ended]) == [ended]
    kill_all([ended])


def test_the_machine_is_described() -> None:
    about = machine.describe()
    assert about["processor"]
    assert about["cores"] >= 1
    assert about["memory_gib"] > 0
    assert set(about["packages"]) == set(machine.PACKAGES)


def test_the_commit_is_a_whole_one_and_says_if_it_was_changed() -> None:
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=False, capture_output=True, text=True)
    head = asked.stdout.strip() if asked.returncode == 0 else None
    assert machine.commit() in ({head, f"{head}-dirty"} if head else {None})
