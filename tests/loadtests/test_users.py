"""Locust's users on a server that is not the lab's: each request counts as what it is, with every kind of user."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import servers
from loadtests.ingest import Run
from loadtests.run import Load, run
from loadtests.scenarios import ScenarioError, find, request_name
from loadtests.summary import summarize
from tests.loadtests import shop_scenarios

HERE = Path(__file__).parent
SCENARIOS = HERE / "shop_scenarios.py"
KINDS = pytest.mark.parametrize("fast", [False, True], ids=["requests", "fast"])
RATE = 40.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("shop") / "server.log"
    with servers.running([sys.executable, str(HERE / "shop.py"), "{port}"], log, ready="/items") as server:
        yield server.url


def loaded(
    shop: str, folder: Path, scenario: str, fast: bool, users: int = 4, seconds: float = 1.0, **options: object
) -> Run:
    load = Load(f"{SCENARIOS}:{scenario}", users=users, seconds=seconds, warmup=0.0, fast=fast, **options)
    return Run(run(load, shop, folder))


@KINDS
def test_a_table_of_behaviours_and_prepared_requests(shop: str, tmp_path: Path, fast: bool) -> None:
    found = loaded(shop, tmp_path / "run", "shopping", fast, rate=RATE, headers={"Authorization": "Bearer key"})
    counts = found.requests.groupby(["name", "outcome"]).size().to_dict()
    assert set(counts) <= {("GET /items", "ok"), ("POST /orders", "ok"), ("unsent", "unsent")}
    assert found.exceptions.empty
    assert found.failures.empty
    assert "key" not in (tmp_path / "run" / "run.json").read_text().replace('"key"', "")
    assert found.record["load"]["headers"] == ["Authorization"]


@KINDS
def test_a_wrong_answer_is_a_failure_whatever_its_status(shop: str, tmp_path: Path, fast: bool) -> None:
    for scenario, name in (("nonsense", "GET /nonsense"), ("wrong", "GET /wrong"), ("sold_out", "sold out")):
        found = loaded(shop, tmp_path / scenario, scenario, fast, rate=RATE)
        sent = found.requests[found.requests["name"] == name]
        assert set(zip(sent["status"], sent["outcome"], strict=True)) == {(200, "failed")}
        assert found.failures["name"].tolist() == [name]
        assert summarize(found)["lost"] == ""


def test_a_behaviour_that_trips_over_an_error_is_not_broken(shop: str, tmp_path: Path) -> None:
    found = loaded(shop, tmp_path / "run", "missing", fast=False, rate=RATE)
    assert set(found.requests["outcome"]) <= {"failed", "unsent"}
    assert found.exceptions.empty


def test_a_scenarios_own_mistake_voids_the_run_and_its_requests_are_what_they_are(shop: str, tmp_path: Path) -> None:
    found = loaded(shop, tmp_path / "run", "broken", fast=False, rate=RATE)
    assert set(found.requests["outcome"]) <= {"ok", "unsent"}
    assert summarize(found)["lost"].startswith("a behaviour of the scenario is broken: ")
    assert "a mistake of the scenario" in summarize(found)["lost"]


def test_two_requests_in_a_turn_are_two_of_the_rate(shop: str, tmp_path: Path) -> None:
    found = loaded(shop, tmp_path / "run", "two_requests", fast=False, rate=RATE)
    assert len(found.measured) == pytest.approx(RATE, abs=1)
    counts = found.requests["name"].value_counts()
    assert counts["first"] == pytest.approx(counts["second"], abs=4)


def test_a_turn_without_a_request_leaves_its_due_time_to_the_next(shop: str, tmp_path: Path) -> None:
    found = loaded(shop, tmp_path / "run", "sometimes_nothing", fast=False, rate=RATE)
    assert len(found.measured) == pytest.approx(RATE, abs=1)
    assert found.exceptions.empty


@KINDS
def test_names_that_look_like_something_else(shop: str, tmp_path: Path, fast: bool) -> None:
    # Long enough for one user to come to the last name on a machine that is busy with other tests.
    found = loaded(shop, tmp_path / "run", "names", fast, users=1, seconds=3.0)
    assert set(found.requests["name"]) == set(shop_scenarios.NAMES)
    assert set(found.requests["outcome"]) == {"ok"}
    assert set(found.stats["name"]) == set(shop_scenarios.NAMES)
    assert summarize(found)["lost"] == ""


@KINDS
@pytest.mark.parametrize("rate", [None, RATE])
def test_callers_who_hang_are_in_the_result(shop: str, tmp_path: Path, fast: bool, rate: float | None) -> None:
    found = loaded(shop, tmp_path / "run", "hang", fast, users=3, rate=rate)
    summary = summarize(found)
    assert summary["requests_per_s"] == 0
    assert summary["unanswered_per_s"] == 3.0
    assert summary["p50_ms"] > 4000
    if rate:
        assert summary["unanswered_per_s"] + summary["unsent_per_s"] == pytest.approx(rate, abs=1)


def test_callers_who_hang_are_told_by_workers_too(shop: str, tmp_path: Path) -> None:
    found = loaded(shop, tmp_path / "run", "hang", fast=True, users=2, processes=2)
    assert summarize(found)["unanswered_per_s"] == 2.0


@pytest.mark.parametrize(
    ("name", "blamed"),
    [
        ("nothing", "name one of reads"),
        (f"{SCENARIOS}:nothing", "write a function nothing"),
        ("nowhere.py:browse", "no file nowhere.py"),
        (f"{SCENARIOS}:not_a_table", "table of functions and weights"),
        (f"{Path(__file__)}:RATE", "neither a function nor a table"),
    ],
)
def test_a_scenario_that_cannot_be_used_is_explained(name: str, blamed: str) -> None:
    with pytest.raises(ScenarioError, match=blamed):
        find(name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/items/17", "GET /items/{id}"),
        ("/items/17/parts/4", "GET /items/{id}/parts/{id}"),
        ("/messages/65f0c0ffee65f0c0ffee65f0", "GET /messages/{id}"),
        ("/users/6d8e4f8c-0000-4c3b-9c1e-aaaaaaaaaaaa", "GET /users/{id}"),
        ("/v2/items", "GET /v2/items"),
        ("/", "GET /"),
    ],
)
def test_ids_are_no_part_of_a_requests_name(path: str, name: str) -> None:
    assert request_name("GET", path) == name
