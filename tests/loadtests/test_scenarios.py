"""What the callers of each scenario do, by turns."""

import pytest

from loadtests.scenarios import SCENARIOS, Behaviour, read_recent, send_message, turns

TURNS = {
    "reads": [read_recent],
    "writes": [send_message],
    "mixed": [read_recent, send_message],
}


@pytest.mark.parametrize(("scenario", "expected"), TURNS.items())
def test_turns(scenario: str, expected: list[Behaviour]) -> None:
    assert turns(scenario) == expected


def test_mixed_is_half_reads_and_half_writes() -> None:
    mixed = turns("mixed")
    assert mixed.count(read_recent) == mixed.count(send_message) == len(mixed) / 2


def test_every_scenario_is_in_the_table_above() -> None:
    assert set(SCENARIOS) == set(TURNS)
