"""What a rate limit protects: measured on real servers, at rates that any machine can offer."""

from pathlib import Path

import pandas as pd
import pytest

from loadtests import overload
from loadtests.overload import INSIST, LIMIT, NO_LIMIT, WAIT
from tests.loadtests.figures import labels, png


@pytest.fixture(autouse=True)
def runs(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    monkeypatch.setattr(overload, "USERS", 50)
    monkeypatch.setattr(overload, "CALLERS", 8)


def test_only_the_limit_refuses(tmp_path: Path) -> None:
    rows = overload.overload(20.0, seconds=1.0, folder=tmp_path / "runs")
    assert rows.index.tolist() == [NO_LIMIT, LIMIT]
    assert rows.loc[NO_LIMIT, "refused_per_s"] == 0
    assert rows.loc[LIMIT, "refused_per_s"] > 0
    assert rows["offered_per_s"].tolist() == pytest.approx([80.0, 80.0], abs=2)
    # 14 a second, and once more as many at the edge of a window.
    assert rows.loc[LIMIT, "stored_per_s"] <= 28
    drawn = overload.figure(rows)
    assert "seconds into the overload" in labels(drawn)[0]
    assert 3 <= len(drawn.axes[0].get_xticks()) <= 15
    assert len(drawn.axes[0].lines) == 3
    assert png(drawn)


def measured(offered: float, in_time: tuple[float, float]) -> pd.DataFrame:
    rows = {"offered_per_s": [offered, offered], "in_time_per_s": in_time, "p95_ms": [4000.0, 120.0]}
    return pd.DataFrame(rows, index=[NO_LIMIT, LIMIT])


def test_what_a_limit_protects_is_said_of_an_overload() -> None:
    said = overload.protection(measured(1600, (3, 240)))
    assert said.said
    assert said.text == (
        "At 1,600 writes/s, several times what it can take: without a limit 3 writes/s in time, 95 % within 4,000 ms; "
        "with it 240 writes/s in time, 95 % within 120 ms."
    )


def test_what_a_server_can_take_is_no_overload() -> None:
    """A hurried search may find far too low a capacity: then the limit protects nothing, and only refuses."""
    said = overload.protection(measured(368, (367, 44)))
    assert not said.said
    assert said.text.startswith("Nothing: 368 writes/s were no overload")


def test_who_waits_as_told_sends_less_for_each_message(tmp_path: Path) -> None:
    rows = overload.callers(20.0, seconds=1.0, folder=tmp_path / "runs")
    assert rows.index.tolist() == [INSIST, WAIT]
    assert rows.loc[WAIT, "requests_per_message"] < rows.loc[INSIST, "requests_per_message"]
    assert (rows["refused_per_s"] > 0).all()
    assert (rows["stored_per_s"] <= 28).all()
    assert rows.loc[WAIT, "stored_per_s"] > 0


@pytest.mark.parametrize(("capacity", "limit"), [(250.0, "175/second"), (1.0, "1/second"), (0.2, "1/second")])
def test_the_limit_is_a_share_of_the_capacity(capacity: float, limit: str) -> None:
    assert overload.limit_for(capacity) == limit
