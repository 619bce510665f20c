"""The list of tests that take long."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import quick
from tests.pages import ROOT


def listed(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", listed(quick.LIST))
def test_what_is_listed_exists(name: str) -> None:
    path, function = name.partition("[")[0].split("::")[:2]
    assert function in (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "long.txt"
    monkeypatch.setattr(quick, "LIST", path)
    return path


def test_who_takes_long_is_listed_and_who_was_not_run_stays_as_it_was(names: Path) -> None:
    names.write_text("is quick now\nwas not run\n")
    stopwatch, half = quick.Stopwatch(), quick.LONG_SECONDS / 2
    for name, when, seconds in [
        ("is quick now", "call", 1.0),
        ("takes long", "call", quick.LONG_SECONDS),
        ("waits for what it shares", "setup", 60.0),
        ("is repeated", "call", half),
        ("is repeated", "call", half),
    ]:
        report: Any = SimpleNamespace(nodeid=name, when=when, duration=seconds)
        stopwatch.pytest_runtest_logreport(report)
    stopwatch.pytest_sessionfinish()
    assert listed(names) == ["is repeated", "takes long", "was not run"]


@pytest.mark.parametrize(("asked", "left"), [(True, ["quick"]), (False, ["quick", "takes long"])])
def test_they_are_left_out_where_that_is_asked_for(names: Path, asked: bool, left: list[str]) -> None:
    names.write_text("takes long\n")
    items: Any = [SimpleNamespace(nodeid="quick"), SimpleNamespace(nodeid="takes long")]
    deselected: list[Any] = []

    def note(items: list[Any]) -> None:
        deselected.extend(items)

    config: Any = SimpleNamespace(getoption=lambda name: asked, hook=SimpleNamespace(pytest_deselected=note))
    quick.leave_out_long(config, items)
    assert [each.nodeid for each in items] == left
    assert [each.nodeid for each in deselected] == ["takes long"] * asked
