"""Capacity: the search, on a service made up of numbers, and a short real one."""

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest

from loadtests import capacity as module
from loadtests.capacity import STEP, Capacity, Slo, capacity
from loadtests.run import Load
from server.launch import RunningServer

GOOD = {
    "requests_per_s": 100.0,
    "refused_per_s": 0.0,
    "failed_per_s": 0.0,
    "unsent_per_s": 0.0,
    "p50_ms": 5.0,
    "p95_ms": 20.0,
    "p99_ms": 49.0,
    "void": "",
    "lost": "",
}
BUSY = "Locust used 99% of a core: it was the limit"


@pytest.mark.parametrize(
    ("slo", "summary", "held"),
    [
        (Slo(), {}, True),
        (Slo(), {"p95_ms": 50.0}, False),
        (Slo(percentile=99, milliseconds=30), {}, False),
        (Slo(), {"failed_per_s": 0.2}, False),
        (Slo(), {"refused_per_s": 0.2}, False),
        (Slo(), {"unsent_per_s": 0.2}, False),
        (Slo(failures=0.01), {"failed_per_s": 0.2}, True),
        (Slo(), {"requests_per_s": 0.0, "p95_ms": float("nan")}, False),
        (Slo(), {"lost": "the server ended"}, False),
    ],
)
def test_whether_a_run_kept_the_promise(slo: Slo, summary: dict[str, Any], held: bool) -> None:
    assert slo.held_by(GOOD | summary) is held


def test_a_percentile_that_no_run_tells_is_refused() -> None:
    with pytest.raises(ValueError, match="50, 95 and 99"):
        Slo(percentile=90)


def search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: Callable[[int, float], Any], **options: Any
) -> Capacity:
    """Search on a service of which `answer(number of the run, rate)` is what differs from GOOD."""
    offered: list[float] = []
    monkeypatch.setattr(module, "run", lambda load, *_, **__: offered.append(load.rate))
    monkeypatch.setattr(module.ingest, "summary", lambda _: GOOD | answer(len(offered), offered[-1]))
    return capacity(Load("reads"), "http://nowhere", folder=tmp_path, **options)


@pytest.mark.parametrize("true", [30.0, 99.0, 1000.0, 7777.0])
def test_it_finds_the_capacity_and_confirms_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, true: float) -> None:
    found = search(monkeypatch, tmp_path, lambda _, rate: {"p95_ms": 20.0 if rate <= true else 900.0})
    assert found.low <= true < found.high <= found.low * STEP
    assert (found.runs["rate"] == found.low).sum() == 2
    assert found.limit == ""
    assert f"{found.low:,.0f} to {found.high:,.0f} requests/s" in str(found)


def test_a_rate_that_holds_once_but_not_again_is_not_the_capacity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[float] = []

    def answer(_: int, rate: float) -> dict[str, float]:
        seen.append(rate)
        lucky = rate > 500 and seen.count(rate) == 1 and rate < 1000
        return {"p95_ms": 20.0 if rate <= 500 or lucky else 900.0}

    found = search(monkeypatch, tmp_path, answer)
    assert found.low <= 500 < found.high


def test_where_the_generator_was_the_limit_the_capacity_is_at_least(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = search(monkeypatch, tmp_path, lambda _, rate: {"p95_ms": 900.0, "void": BUSY} if rate > 1000 else {})
    assert found.high == inf
    assert found.limit == BUSY
    assert "at least" in str(found)
    assert found.low > 900


def test_the_search_ends_somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = search(monkeypatch, tmp_path, lambda *_: {}, highest=1000.0)
    assert (found.low, found.high) == (800.0, inf)
    assert "the search ended" in found.limit


def test_a_service_that_keeps_no_promise_has_no_capacity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = search(monkeypatch, tmp_path, lambda *_: {"p95_ms": 900.0})
    assert found.low == 0.0
    assert "no rate was found" in str(found)


def test_a_real_search(shared_server: RunningServer, tmp_path: Path) -> None:
    load = Load("reads", users=8, seconds=0.5, warmup=0.0, rate=20, fast=True)
    found = capacity(load, shared_server.url, Slo(milliseconds=2000.0), highest=40, folder=tmp_path / "capacity")
    assert found.runs["rate"].isin([20, 40]).all()
    assert {folder.name for folder in found.runs["folder"]} == {f.name for f in (tmp_path / "capacity").iterdir()}
