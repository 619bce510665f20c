"""Describing the machine, and finding processes by their sockets."""

import re
import subprocess
import sys

import psutil

from harness import machine, watch
from harness.ports import free_port
from harness.processes import descendants, kill_all
from tests.waiting import eventually


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


def test_the_form_of_the_commit() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", machine.commit() or "0" * 40)
