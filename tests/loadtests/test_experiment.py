"""Comparisons: a short real one, and the rules by which rounds become a verdict."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import pytest
from pymongo import MongoClient

from loadtests.comparison import METRICS, Comparison
from loadtests.experiment import compare
from loadtests.folders import new_folder
from loadtests.ingest import Run
from loadtests.run import Load
from loadtests.summary import summarize

VARIANTS = {"cache off": {"cache": "off"}, "cache ttl": {"cache": "ttl"}}
LOAD = Load("reads", users=2, seconds=1.0, warmup=0.0, rate=40)
BUSY = "Locust used 99% of a core: it was the limit"


# A real comparison.


@pytest.fixture(scope="module")
def databases(mongodb_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient(mongodb_uri) as client:
        yield client


@pytest.fixture(scope="module")
def comparison(
    mongodb_uri: str, databases: MongoClient[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Comparison:
    """Two rounds on two real servers, which several tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_MONGODB_URI", mongodb_uri)
        return compare(VARIANTS, LOAD, rounds=2, messages=10, folder=tmp_path_factory.mktemp("runs") / "compare")


def test_the_rounds_go_forth_and_back(comparison: Comparison) -> None:
    in_order = sorted(comparison.rounds["folder"], key=lambda folder: Run(folder).began)
    assert [folder.name for folder in in_order] == ["01 cache off", "01 cache ttl", "02 cache ttl", "02 cache off"]


def test_each_run_keeps_the_settings_of_its_server(comparison: Comparison) -> None:
    for row in comparison.rounds.itertuples():
        assert Run(row.folder).record["settings"] == VARIANTS[row.variant]


def test_each_run_has_a_server_of_its_own_and_they_share_one_mongod(comparison: Comparison) -> None:
    processes = [Run(folder).record["processes"] for folder in comparison.rounds["folder"]]
    assert len({each["server"][0] for each in processes}) == 4
    assert len({each["mongod"][0] for each in processes}) == 1


def test_a_row_for_each_round_and_variant_with_its_summary(comparison: Comparison) -> None:
    for row in comparison.rounds.to_dict("records"):
        about = {name: row.pop(name) for name in ("round", "variant", "folder")}
        assert about["folder"].name == f"{about['round']:02d} {about['variant']}"
        assert row == pytest.approx(summarize(Run(about["folder"])), nan_ok=True)
        assert row["requests_per_s"] > 0
        assert row["failed_per_s"] == 0


def test_two_rounds_are_a_first_look(comparison: Comparison) -> None:
    assert comparison.verdict("server_us").endswith("; a first look, from 2 pairs")


def test_the_table_has_a_row_for_each_metric(comparison: Comparison) -> None:
    table = comparison.table()
    assert len(table) == len(METRICS)
    assert list(table.columns) == [*VARIANTS, "ratio [95 % interval]", "would show", "verdict"]


def test_no_database_is_left_behind(comparison: Comparison, databases: MongoClient[dict[str, Any]]) -> None:
    assert comparison.rounds.size
    assert [name for name in databases.list_database_names() if name.startswith("experiment_")] == []


def test_each_result_has_a_folder_of_its_own() -> None:
    assert len({new_folder("compare") for _ in range(100)}) == 100


# Verdicts, from rounds made up for the purpose.


def made_up(*rounds: Mapping[str, tuple[float, float, str]]) -> Comparison:
    """A comparison; each round gives `server_us`, `requests_per_s` and `void` of the variants A and B."""
    rows = [
        {"round": number, "variant": variant, "server_us": server_us, "requests_per_s": rate, "void": void, "lost": ""}
        for number, variants in enumerate(rounds, start=1)
        for variant, (server_us, rate, void) in variants.items()
    ]
    return Comparison(LOAD, ("A", "B"), pd.DataFrame(rows))


def test_six_pairs_that_agree_are_quoted() -> None:
    comparison = made_up(*[{"A": (200.0, 50.0, ""), "B": (100.0, 50.0, "")}] * 6)
    assert comparison.verdict("server_us") == "server CPU: B is 0.50 [0.50, 0.50] times A"
    assert comparison.verdict("requests_per_s").startswith("throughput: no difference shown between A and B (1.00")


def test_five_pairs_are_not_enough_to_quote() -> None:
    comparison = made_up(*[{"A": (200.0, 50.0, ""), "B": (100.0, 50.0, "")}] * 5)
    assert comparison.verdict("server_us").endswith("; a first look, from 5 pairs")


def test_a_void_run_has_no_throughput_but_its_processor_time_counts() -> None:
    comparison = made_up(
        {"A": (200.0, 50.0, ""), "B": (100.0, 75.0, "")},
        {"A": (210.0, 51.0, ""), "B": (110.0, 900.0, BUSY)},
        {"A": (190.0, 49.0, ""), "B": (90.0, 73.0, "")},
    )
    assert comparison.values("requests_per_s")["B"].dropna().tolist() == [75.0, 73.0]
    assert comparison.values("server_us")["B"].tolist() == [100.0, 110.0, 90.0]
    throughput, server_us = comparison.ratio("requests_per_s"), comparison.ratio("server_us")
    assert throughput is not None
    assert server_us is not None
    assert (throughput.pairs, server_us.pairs) == (2, 3)
    assert throughput.high < 2


@pytest.mark.parametrize("voids", [(BUSY, BUSY), ("", BUSY)])
def test_without_two_good_pairs_nothing_is_quoted_and_the_reason_is_given(voids: tuple[str, str]) -> None:
    first, second = voids
    comparison = made_up(
        {"A": (200.0, 50.0, ""), "B": (100.0, 75.0, first)},
        {"A": (200.0, 50.0, ""), "B": (100.0, 75.0, second)},
    )
    void = sum(map(bool, voids))
    assert comparison.ratio("requests_per_s") is None
    assert comparison.verdict("requests_per_s") == f"throughput: not quoted, {void} of 4 runs are void ({BUSY})"
    assert "B is 0.50" in comparison.verdict("server_us")


def test_another_variant_than_the_last_can_be_asked_about() -> None:
    rows = [
        {"round": number, "variant": variant, "server_us": server_us, "void": "", "lost": ""}
        for number in (1, 2)
        for variant, server_us in (("A", 100.0), ("B", 200.0), ("C", 300.0))
    ]
    comparison = Comparison(LOAD, ("A", "B", "C"), pd.DataFrame(rows))
    assert comparison.verdict("server_us", "B").startswith("server CPU: B is 2.00")
    assert comparison.verdict("server_us").startswith("server CPU: C is 3.00")


def test_a_metric_that_is_zero_or_missing_gives_no_ratio() -> None:
    comparison = made_up(*[{"A": (0.0, 50.0, ""), "B": (float("nan"), 75.0, "")}] * 6)
    assert comparison.ratio("server_us") is None
    assert comparison.verdict("server_us") == "server CPU: not quoted, there is nothing to compare"


def test_nothing_of_a_lost_run_counts() -> None:
    comparison = made_up(*[{"A": (200.0, 50.0, ""), "B": (100.0, 50.0, "")}] * 3)
    comparison.rounds.loc[1, ["void", "lost"]] = "the server (process 1) ended 0.5 s into the measured time"
    assert comparison.values("server_us")["B"].dropna().tolist() == [100.0, 100.0]
    assert comparison.values("requests_per_s")["B"].dropna().tolist() == [50.0, 50.0]


def test_the_table_tells_what_the_rounds_would_have_shown() -> None:
    pairs = [{"A": (100.0, 50.0, ""), "B": (101.0, 50.0, "")}, {"A": (101.0, 50.0, ""), "B": (99.0, 50.0, "")}]
    assert "2 pairs cannot say what would have been" in made_up(*pairs).verdict("server_us")
    comparison = made_up(*pairs, *pairs)
    ratio = comparison.ratio("server_us")
    assert ratio is not None
    assert f"{ratio.visible:.0%}" in comparison.verdict("server_us")


def test_what_a_verdict_rests_on() -> None:
    rounds = [{"A": (200.0 + number, 50.0, ""), "B": (100.0, 50.0, BUSY)} for number in range(6)]
    comparison = made_up(*rounds)
    assert comparison.evidence("server_us").startswith("6 pairs of runs in turns, each on new servers; 6 of 12 runs")
    assert comparison.evidence("requests_per_s") == f"not at all: 6 of 12 runs are void ({BUSY})"
