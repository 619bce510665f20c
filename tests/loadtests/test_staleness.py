"""How old a cached list can be: measured on two real processes."""

import pandas as pd
import pytest

from loadtests import staleness
from loadtests.staleness import figure, summary
from tests.loadtests.figures import labels, png


@pytest.fixture(autouse=True)
def on_the_tests_mongodb(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)


def test_a_ttl_cache_hides_messages_that_a_reader_with_lab_seen_is_shown() -> None:
    rows = staleness.staleness({"ttl": {"cache": "ttl"}, "off": {"cache": "off"}}, messages=4)
    table = summary(rows)
    assert table["writes"].tolist() == [2, 2, 2, 2]
    assert table["missed"].to_dict() == {
        ("ttl", "plain"): 2,
        ("ttl", "with Lab-Seen"): 0,
        ("off", "plain"): 0,
        ("off", "with Lab-Seen"): 0,
    }
    # The cache was filled before the write, so at the latest a second after its acknowledgement the message is shown.
    assert (rows["visible_ms"] < staleness.GIVE_UP_SECONDS * 1000).all()


def test_the_figure_names_its_axis_and_draws_what_was_read_plainly() -> None:
    rows = pd.DataFrame(
        {
            "variant": ["ttl", "ttl", "tail", "tail"],
            "number": [1, 2, 1, 2],
            "with_seen": [False, True] * 2,
            "missed": [True, False] * 2,
            "visible_ms": [900.0, 3.0, 2.0, 2.0],
        }
    )
    drawn = figure(rows)
    assert "ms (logarithmic)" in labels(drawn)[0]
    assert [line.get_xdata().tolist() for line in drawn.axes[0].lines] == [[900.0], [2.0]]
    assert png(drawn)
