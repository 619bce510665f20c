"""Conditions: met, not met, or not to be told, and the exit status that says so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from loadtests.comparison import Comparison
from loadtests.conditions import (
    COMPARISON_NAMES,
    MET,
    NOT_MET,
    RUN_NAMES,
    UNKNOWN,
    exit_status,
    judge_comparison,
    judge_run,
    parse,
    quantile_interval,
)
from loadtests.ingest import Run
from loadtests.run import Load
from loadtests.summary import summarize
from tests.loadtests import recorded


@pytest.mark.parametrize(
    ("text", "low", "high", "verdict"),
    [
        ("p95_ms > 50", 51, 60, MET),
        ("p95_ms > 50", 49, 60, UNKNOWN),
        ("p95_ms > 50", 40, 50, NOT_MET),
        ("requests_per_s < 100", 90, 99, MET),
        ("requests_per_s<100", 90, 101, UNKNOWN),
        ("requests_per_s < 1e2", 100, 110, NOT_MET),
        ("p99_ms > 50", float("nan"), float("nan"), UNKNOWN),
    ],
)
def test_the_whole_interval_has_to_meet_it(text: str, low: float, high: float, verdict: str) -> None:
    assert parse(text, RUN_NAMES).judge(low, high) == verdict


@pytest.mark.parametrize("text", ["", "p95_ms", "p95_ms > fast", "latency > 50", "p95_ms = 50", "p95_ms > 1 2"])
def test_what_is_no_condition_is_explained(text: str) -> None:
    with pytest.raises(ValueError, match="write NAME > NUMBER, NAME one of"):
        parse(text, RUN_NAMES)


def test_a_run_that_is_void_or_too_short_tells_nothing(tmp_path: Path) -> None:
    asked = [parse("p95_ms > 50", RUN_NAMES), parse("failed_per_s > 0", RUN_NAMES)]
    short = Run(recorded.write(tmp_path / "short"))
    assert [each.verdict for each in judge_run(short, summarize(short), asked)] == [UNKNOWN, MET]
    void = Run(recorded.write(tmp_path / "void", locust_cores=0.9))
    judged = judge_run(void, summarize(void), asked)
    assert [each.verdict for each in judged] == [UNKNOWN, UNKNOWN]
    assert exit_status(judged) == 3
    assert exit_status([]) == 0


def compared(ratios: list[float]) -> Comparison:
    rows = [
        {"round": number, "variant": variant, "server_us": value, "void": "", "lost": ""}
        for number, ratio in enumerate(ratios)
        for variant, value in (("A", 100.0), ("B", 100.0 * ratio))
    ]
    return Comparison(Load("reads"), ("A", "B"), pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("ratios", "status"),
    [([1.2, 1.21, 1.19, 1.2], 1), ([1.0, 1.01, 0.99, 1.0], 0), ([1.0, 1.3, 1.1, 1.2], 3), ([1.2], 3)],
)
def test_a_comparison_fails_only_where_its_interval_says_so(ratios: list[float], status: int) -> None:
    judged = judge_comparison(compared(ratios), [parse("server_us > 1.10", COMPARISON_NAMES)])
    assert exit_status(judged) == status


def test_a_quantile_lies_in_its_interval_in_nineteen_of_twenty_cases() -> None:
    generator = np.random.default_rng(1)
    for share, count in ((0.5, 50), (0.95, 400)):
        inside = 0
        for _ in range(400):
            low, high = quantile_interval(pd.Series(generator.random(count)), share, 0.95)
            inside += low <= share <= high
        assert 0.93 <= inside / 400 <= 0.99


def test_too_few_values_have_no_interval() -> None:
    assert np.isnan(quantile_interval(pd.Series(range(20)), 0.99, 0.95)).all()
    assert np.isnan(quantile_interval(pd.Series([], dtype=float), 0.5, 0.95)).all()
