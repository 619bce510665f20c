"""Locust starts as its own command does, without asking every installed package."""

import subprocess
import sys

import pytest

COUNTED = """
import runpy, sys
from importlib import metadata

asked, find = [], metadata.entry_points

def counted(**groups):
    asked.append(groups["group"])
    return find(**groups)

metadata.entry_points = counted
sys.argv = ["locust", "--version"]
try:
    runpy.run_module(MODULE, run_name="__main__")
finally:
    print(sum(each.startswith("gevent") for each in asked))
"""


@pytest.mark.parametrize(("module", "asks"), [("loadtests.start_locust", False), ("locust", True)])
def test_gevent_asks_no_package(module: str, asks: bool) -> None:
    program = COUNTED.replace("MODULE", repr(module))
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    version, count = said.splitlines()
    assert version.startswith("locust 2.")
    assert (int(count) > 0) is asks
