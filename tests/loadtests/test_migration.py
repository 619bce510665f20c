"""What a migration costs others: a real one, under load, in which nothing may be lost."""

from pathlib import Path

import pytest

from loadtests import migration
from loadtests.migration import MigrationImpact
from loadtests.run import Load


def test_five_thousand_messages_are_migrated_under_live_traffic_and_none_is_lost(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    found = migration.measure(5000, 0, Load("mixed", 8, seconds=4.0, warmup=0.5, rate=200), tmp_path)
    assert found.proved
    assert found.failed == 0
    assert found.acknowledged > 0
    assert found.found >= found.seeded + found.acknowledged


MEASURED = MigrationImpact(
    p99_alone=[10.0, 20.0],
    p99_migrating=[20.0, 40.0],
    failed=1,
    seeded=1000,
    acknowledged=50,
    found=1047,
    proved=False,
    finished_early=True,
)


def test_what_was_measured_in_words() -> None:
    said = str(MEASURED)
    assert "15.0 ms alone, 30.0 ms during the migration; 2.00 [2.00, 2.00] times" in said
    assert "the migration ended before the rounds did" in said
    assert "1,000 old and 50 acknowledged messages, 3 lost, 1 requests failed; SOMETHING escaped" in said
