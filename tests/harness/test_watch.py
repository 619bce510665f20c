"""The CPU time of processes, to less than the hundredths of a second in which /proc counts."""

import subprocess
import sys
import time

import psutil
import pytest

from harness import watch

BURN = """
import time
while time.process_time() < 0.1:
    pass
print(time.process_time(), flush=True)
input()
"""


def test_a_millisecond_of_our_own_is_seen() -> None:
    before, begin = watch.cpu_seconds(psutil.Process()), time.process_time()
    while time.process_time() < begin + 0.003:
        pass
    used = time.process_time() - begin
    assert watch.cpu_seconds(psutil.Process()) - before == pytest.approx(used, abs=0.002)


def test_the_time_of_another_process_is_what_its_own_clock_says() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        by_itself = float(child.stdout.readline())
        assert watch.cpu_seconds(psutil.Process(child.pid)) == pytest.approx(by_itself, abs=0.005)
        child.communicate("\n")
    assert watch.cpu_seconds(psutil.Process()) > 0


def test_a_process_that_has_ended_has_used_nothing_more() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as child:
        process = psutil.Process(child.pid)
        child.communicate("\n")
    assert watch.cpu_seconds(process) == 0.0
