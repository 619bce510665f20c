"""Capacity: the search, on a service made up of numbers, and a short real one."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from loadtests import capacity as module
from loadtests.capacity import ROUNDING, STEP, Capacity, Slo, capacities, capacity, ladder
from loadtests.ingest import Run
from loadtests.run import Load

GOOD = {
    "requests_per_s": 100.0,
    "refused_per_s": 0.0,
    "failed_per_s": 0.0,
    "unanswered_per_s": 0.0,
    "unsent_per_s": 0.0,
    "p50_ms": 5.0,
    "p95_ms": 20.0,
    "p99_ms": 49.0,
    "server_us": 500.0,
    "mongod_us": 100.0,
    "server_cores": 0.4,
    "server_busiest": 0.4,
    "locust_busiest": 0.1,
    "machine_cores": 0.5,
    "cores": 2,
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
        (Slo(), {"unanswered_per_s": 0.2}, False),
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
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: Callable[[int, float], Any],
    first: float | None = 100.0,
    **options: Any,
) -> Capacity:
    """Search from the rate `first`, on a service of which `answer(number of the run, rate)` is what differs from GOOD.

    Without a rate its users get GOOD's 100 answers a second.
    """
    offered: list[float | None] = []

    def summary(_: Run) -> dict[str, Any]:
        return GOOD | (answer(len(offered), offered[-1]) if offered[-1] else {})

    monkeypatch.setattr(module, "run", lambda load, *_, **__: offered.append(load.rate))
    monkeypatch.setattr(module, "summarize", summary)
    return capacity(Load("reads", rate=first), "http://nowhere", folder=tmp_path, **options)


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


def test_where_nothing_held_twice_the_search_goes_on_below(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = search(monkeypatch, tmp_path, lambda run, rate: {"p95_ms": 20.0 if rate <= 40 or run == 1 else 900.0})
    assert found.runs["rate"].iloc[0] == 100
    assert found.low <= 40 < found.high <= found.low * STEP * ROUNDING
    assert (found.runs["rate"] == found.low).sum() == 2


@pytest.mark.parametrize(
    ("true", "first", "offered"),
    [
        # The guess was too high, by two steps: a third of the rates lie between.
        (240.0, 366.0, [366, 293, 234, 234]),
        # It was right. The gap is one step, whatever the last digit of a quotient is.
        (234.4, 293.0, [293, 234, 234]),
        (300.0, 300.0, [300, 375, 300]),
        # It was too low by far.
        (950.0, 100.0, [100, 125, 156, 244, 596, 2384, 1192, 843, 1002, 843]),
    ],
)
def test_a_good_guess_needs_few_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, true: float, first: float, offered: list[int]
) -> None:
    found = search(
        monkeypatch, tmp_path, lambda _, rate: {"p95_ms": 20.0 if rate <= true else 900.0}, first=first, step=1.25
    )
    assert found.runs["rate"].round().astype(int).tolist() == offered


def test_a_guess_that_holds_only_once_costs_two_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was a little too much is followed by a little less, not by half."""
    found = search(
        monkeypatch, tmp_path, lambda run, rate: {"p95_ms": 20.0 if rate <= 900 or run == 1 else 900.0}, first=1000.0,
        step=1.25,
    )  # fmt: skip
    assert found.runs["rate"].round().astype(int).tolist() == [1000, 1250, 1000, 800, 800]


def test_the_search_ends_where_nothing_ever_holds_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[float] = []

    def answer(_: int, rate: float) -> dict[str, float]:
        seen.append(rate)
        return {"p95_ms": 20.0 if seen.count(rate) == 1 and rate <= 100 else 900.0}

    found = search(monkeypatch, tmp_path, answer)
    assert (found.low, found.limit) == (0.0, "")
    assert str(found) == "reads: no rate was found that holds p95 < 50 ms, failures ≤ 0.1%"


def test_where_the_generator_was_the_limit_the_capacity_is_at_least(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = search(monkeypatch, tmp_path, lambda _, rate: {"p95_ms": 900.0, "void": BUSY} if rate > 1000 else {})
    assert found.high == inf
    assert found.limit == BUSY
    assert "at least" in str(found)
    assert found.low > 900


BUSY_LOCUST = {"p95_ms": 900.0, "locust_busiest": 0.99, "void": BUSY}


@pytest.mark.parametrize(
    ("load", "beyond_1000", "processes"),
    [
        # Each process of Locust sends 1,000 requests a second, and the server takes them all.
        (Load("reads", rate=100), BUSY_LOCUST, [1, 2, 4]),
        (Load("reads", rate=100, processes=3), BUSY_LOCUST, [3, 6]),
        # That is seen at once where its users send as fast as they are answered.
        (Load("reads"), BUSY_LOCUST, [1, 2, 4]),
        # Twice as many would not help: the machine is full, or who asks has options for Locust that may contradict.
        (Load("reads"), BUSY_LOCUST | {"machine_cores": 3.9}, [1]),
        (Load("reads", locust=("--processes=2",)), BUSY_LOCUST, [1]),
        # It is not Locust that is slow.
        (Load("reads"), {"p95_ms": 900.0}, [1]),
    ],
)
def test_where_locust_was_the_limit_the_run_is_made_again_with_more_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, load: Load, beyond_1000: dict[str, Any], processes: list[int]
) -> None:
    offered: list[Load] = []

    def summary(_: Run) -> dict[str, Any]:
        last = offered[-1]
        return GOOD | {"cores": 4} | (beyond_1000 if (last.rate or inf) > 1000 * last.processes else {})

    monkeypatch.setattr(module, "run", lambda load, *_, **__: offered.append(load))
    monkeypatch.setattr(module, "summarize", summary)
    found = capacity(load, "http://nowhere", folder=tmp_path, highest=50_000.0)
    assert list(dict.fromkeys(each.processes for each in offered)) == processes
    assert found.limit == beyond_1000.get("void", "")
    assert found.low <= 1000 * processes[-1] < found.low * STEP


def test_the_search_ends_somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = search(monkeypatch, tmp_path, lambda *_: {}, highest=1000.0)
    assert (found.low, found.high) == (1000.0, inf)
    assert found.runs["rate"].iloc[-1] == found.runs["rate"].iloc[-2] == 1000.0
    assert found.limit == "the search ended at 1,000 requests/s"


@pytest.mark.parametrize(
    ("true", "step", "rates"),
    [
        (9000.0, 2.0, [100, 200, 400, 1600, 6400, 25600, 12800, 6400]),
        (3.0, 2.0, [100, 50, 25, 6.25, 1.5625, 3.125, 1.5625]),
        (120.0, 1.25, [100, 125, 100]),
        (1e6, 1.25, [100, 125, 156.25, 244.140625]),
    ],
)
def test_the_search_goes_further_each_time_until_it_has_seen_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, true: float, step: float, rates: list[float]
) -> None:
    found = search(monkeypatch, tmp_path, lambda _, rate: {"p95_ms": 20.0 if rate <= true else 900.0}, step=step)
    assert found.runs["rate"].tolist()[: len(rates)] == pytest.approx(rates)


def test_without_a_rate_it_begins_below_what_callers_achieve_who_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = search(monkeypatch, tmp_path, lambda _, rate: {"p95_ms": 20.0 if rate <= 80 else 900.0}, first=None)
    assert found.runs["rate"].iloc[0] == pytest.approx(87.0)
    assert found.low <= 80 < found.high


def test_without_a_rate_and_without_a_success_it_begins_somewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(GOOD, "requests_per_s", 0.0)
    found = search(monkeypatch, tmp_path, lambda *_: {}, first=None)
    assert (found.runs["rate"].iloc[0], found.low) == (module.FIRST_RATE, 0.0)


def test_the_cost_at_capacity_is_that_of_the_runs_that_held_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = search(monkeypatch, tmp_path, lambda run, _: {"server_us": 100.0 * run}, highest=100.0)
    assert found.at_capacity()["server_us"].tolist() == [100.0, 200.0]
    table = ladder({"first": found, "second": replace(found, low=300.0)})
    assert table.loc["first", ["low", "times", "server_us"]].tolist() == [100.0, 1.0, 150.0]
    assert table.loc["second", "times"] == 3.0


def test_capacities_of_two_settings(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Real servers, and a promise that nobody keeps."""
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    variants = {"cache off": {"cache": "off"}, "cache ttl": {"cache": "ttl"}}
    load = Load("mixed", users=2, seconds=0.5, warmup=0.0, rate=1.5, fast=True)
    found = capacities(variants, load, Slo(milliseconds=0.001), folder=tmp_path)
    records = {name: Run(each.runs["folder"].iloc[0]).record for name, each in found.items()}
    assert {name: record["settings"] for name, record in records.items()} == variants
    assert ladder(found)["low"].tolist() == [0.0, 0.0]
