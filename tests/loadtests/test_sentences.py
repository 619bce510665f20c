"""What was measured, in plain sentences."""

from math import inf

import pandas as pd
import pytest

from loadtests import sentences
from loadtests.capacity import Capacity, Slo
from loadtests.comparison import Comparison
from loadtests.run import Load
from loadtests.sentences import Sentence

VARIANTS = ("cache off", "cache tail")
BUSY = "Locust used 99% of a core: it was the limit"
SCATTER = (0.97, 1.0, 1.03, 0.98, 1.02, 1.01)


def compared(before: float, after: float, pairs: int = 6, lost: str = "") -> Comparison:
    """A comparison in which a request costs this many µs of the server's time, with some scatter."""
    rows = [
        {"round": number, "variant": variant, "server_us": value * scatter, "void": lost, "lost": lost}
        for number, scatter in enumerate(SCATTER[:pairs], 1)
        for variant, value in zip(VARIANTS, (before, after * (1 + number / 500)), strict=True)
    ]
    return Comparison(Load("reads"), VARIANTS, pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (1478, 235, "The cache made a read six times cheaper: 238 instead of 1,485 µs of the server's time ["),
        (1478, 14780, "The cache made a read ten times dearer: "),
        (1478, 650, "The cache made a read 2.3 times cheaper: "),
        (1000, 900, "The cache made a read 9 % cheaper: "),
        (1000, 1200, "The cache made a read 21 % dearer: "),
        (2000, 100, "The cache made a read 20 times cheaper: "),
    ],
)
def test_a_change_is_told_by_how_much(before: float, after: float, says: str) -> None:
    said = sentences.change(compared(before, after), "server_us", "the cache", "a read")
    assert said.said
    assert said.text.startswith(says), said.text
    assert said.text.endswith("].")


def test_the_interval_is_told_in_the_direction_of_the_sentence() -> None:
    text = sentences.change(compared(1478, 235), "server_us", "the cache", "a read").text
    low, high = (float(each) for each in text[text.index("[") + 1 : text.index(" times].")].split(" to "))
    assert 5.5 < low <= high < 6.5


def test_no_difference_is_an_answer_too() -> None:
    equal = compared(1000, 1000)
    rounds = equal.rounds.assign(server_us=[1000, 1010, 1010, 1000] * 3)
    said = sentences.change(Comparison(equal.load, VARIANTS, rounds), "server_us", "the cache", "a read")
    assert said.said
    assert said.text.startswith("The cache made no difference to a read that could be shown: ")


def test_a_difference_that_may_be_chance_among_several_metrics_says_so() -> None:
    found = compared(1000, 900)
    waits = {"cache off": (10.0, 10.0, 10.0, 10.0, 10.0, 10.0), "cache tail": (8.0, 10.1, 8.2, 8.9, 9.7, 8.2)}
    rounds = found.rounds.assign(p50_ms=0.0, p95_ms=1.0, p99_ms=1.0, requests_per_s=1.0, mongod_us=1.0)
    for name, values in waits.items():
        rounds.loc[rounds["variant"] == name, "p50_ms"] = values
    comparison = Comparison(found.load, VARIANTS, rounds)
    ratio = comparison.ratio("p50_ms")
    assert ratio is not None
    assert ratio.differs
    assert not comparison.differs("p50_ms")
    said = sentences.change(comparison, "p50_ms", "the cache", "a read").text
    assert said.startswith("The cache made no difference to a read that could be shown: ")
    assert said.endswith(" times]; not clear enough, as one of several metrics.")


def test_few_pairs_are_a_first_look() -> None:
    assert (
        "; a first look, from 3 pairs."
        in sentences.change(compared(1478, 235, pairs=3), "server_us", "the cache", "a read").text
    )


def test_what_was_lost_cannot_be_said() -> None:
    said = sentences.change(compared(1478, 235, lost=BUSY), "server_us", "the cache", "a read")
    assert not said.said
    assert BUSY in said.text


def capacity(low: float, high: float, limit: str = "") -> Capacity:
    return Capacity("reads", Slo(), low, high, limit, pd.DataFrame())


def test_capacities_are_told_with_what_they_promise() -> None:
    found = {"cache off": capacity(357.4, 447.0), "cache tail": capacity(14_712.0, inf, BUSY)}
    assert sentences.capacities(found, "reads") == Sentence(
        "357 with cache off, at least 14,712 with cache tail: reads a second, 95 % of them answered within 50 ms."
    )


def test_a_capacity_that_was_not_found_cannot_be_said() -> None:
    said = sentences.capacities({"cache off": capacity(0.0, 100.0, BUSY)}, "reads")
    assert not said.said
    assert "no rate was found" in said.text
