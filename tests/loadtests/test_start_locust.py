"""Locust starts as its own command does, without asking every installed package."""

import subprocess
import sys

import pytest

COUNTED = """
import os, runpy, sys
from importlib import metadata

asked, find = [], metadata.entry_points

def counted(**groups):
    asked.append(groups["group"])
    return find(**groups)

def say():
    print(sum(each.startswith("gevent") for each in asked), flush=True)

leave = os._exit
os._exit = lambda code: (say(), leave(code))
metadata.entry_points = counted
sys.argv = ["locust", "--version"]
try:
    runpy.run_module(MODULE, run_name="__main__")
finally:
    say()
"""


@pytest.mark.parametrize(("module", "asks"), [("loadtests.start_locust", False), ("locust", True)])
def test_gevent_asks_no_package(module: str, asks: bool) -> None:
    program = COUNTED.replace("MODULE", repr(module))
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    version, count = said.splitlines()
    assert version.startswith("locust 2.")
    assert (int(count) > 0) is asks


def test_it_ends_as_locust_does() -> None:
    command = [sys.executable, "-m", "loadtests.start_locust", "--locustfile", "missing.py", "--headless"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "missing.py" in ended.stdout + ended.stderr
