"""Describing the machine, and finding processes by their sockets."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from harness import machine, watch
from harness.ports import free_port
from harness.processes import descendants, kill_all
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


def test_no_process_is_found_behind_a_free_port() -> None:
    assert watch.behind(f"http://127.0.0.1:{free_port()}").pids() == {"server": [], "mongod": [], "database": []}


def test_cpu_time_of_each_process() -> None:
    this = psutil.Process()
    ((pid, seconds),) = watch.CpuMeter().cpu_seconds([this])
    assert pid == this.pid
    assert 0 < seconds <= machine.busy_seconds()


def test_time_that_a_hypervisor_gave_to_others_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = SimpleNamespace(user=10.0, system=5.0, nice=1.0, idle=80.0, steal=4.0)
    monkeypatch.setattr(psutil, "cpu_times", lambda: taken)
    assert machine.busy_seconds() == 20.0


def test_a_zombie_has_no_cpu_time() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        ended = psutil.Process(process.pid)
        eventually(lambda: ended.status() == psutil.STATUS_ZOMBIE)
        assert watch.CpuMeter().cpu_seconds([ended]) == []
    assert watch.CpuMeter().cpu_seconds([ended]) == []
    assert descendants([ended]) == [ended]
    kill_all([ended])


FORKING = """
import os, sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
for _ in sys.stdin:
    child = os.fork()
    if not child:
        burn(0.3)
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def test_a_child_that_ended_unseen_counts_for_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        meter, watched = watch.CpuMeter(), [psutil.Process(parent.pid)]
        used = [seconds for _, seconds in meter.cpu_seconds(watched)]
        for _ in range(2):
            parent.stdin.write(b"another\n")
            parent.stdin.flush()
            parent.stdout.readline()
            used += [seconds for _, seconds in meter.cpu_seconds(watched)]
        parent.stdin.close()
    assert used[1] - used[0] >= 0.28
    assert used[2] - used[1] >= 0.28


def test_a_child_that_was_seen_counts_once() -> None:
    meter = watch.CpuMeter()
    with subprocess.Popen([sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        root = psutil.Process(parent.pid)
        parent.stdin.write(b"one\n")  # when that one has ended, what starting Python took is over too
        parent.stdin.flush()
        parent.stdout.readline()
        first = sum(seconds for _, seconds in meter.cpu_seconds([root]))
        parent.stdin.write(b"another\n")
        parent.stdin.flush()
        seen: dict[int, float] = {}

        def look() -> bool:
            seen.update(meter.cpu_seconds(descendants([root])))
            return any(seconds > 0.1 for pid, seconds in seen.items() if pid != root.pid)

        eventually(look)
        parent.stdout.readline()
        seen.update(meter.cpu_seconds([root]))
        parent.stdin.close()
    assert 0.28 <= sum(seen.values()) - first < 0.45


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
