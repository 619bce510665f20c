"""Which tests take long: `make test` leaves them out, and CI and `make test ALL=1` take all.

They are listed in `tests/long.txt`, as `python -m pytest --note-long` measured them. A test that is new is not in it.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

LONG_SECONDS = 3.0  # of a test itself, four at a time on two cores; what it shares with others is not counted
LIST = Path(__file__).with_name("long.txt")


def add_options(parser: pytest.Parser) -> None:
    """Add `--quick` and `--note-long`."""
    parser.addoption("--quick", action="store_true", help=f"leave out the tests in {LIST.name}")
    parser.addoption("--note-long", action="store_true", help=f"measure the tests, and write {LIST.name}")


def leave_out_long(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--quick`, deselect the tests that take long."""
    if config.getoption("quick"):
        long = set(LIST.read_text(encoding="utf-8").splitlines())
        config.hook.pytest_deselected(items=[each for each in items if each.nodeid in long])
        items[:] = [each for each in items if each.nodeid not in long]


class Stopwatch:
    """Measures the tests of a run, and lists those that take long: all others that it knows of are quick."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how long one took."""
        if report.when == "call":
            self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Write the list. What was not run this time stays as it was."""
        before = set(LIST.read_text(encoding="utf-8").splitlines()) if LIST.exists() else set()
        long = {name for name, seconds in self._seconds.items() if seconds >= LONG_SECONDS}
        LIST.write_text(lines(long | (before - self._seconds.keys())), encoding="utf-8")


def lines(names: Iterable[str]) -> str:
    """A file with a name on each line."""
    return "".join(f"{name}\n" for name in sorted(names))
