"""The test of a verdict: what is changed, and what is said of it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest

from loadtests.intervals import Ratio, paired_ratio
from loadtests.run import Load
from loadtests.targets import Elsewhere
from profiles.diagnosis import interventions, rules
from profiles.diagnosis.interventions import CHANGES, confirms, half

URI = "mongodb://127.0.0.1:27017/?replicaSet=lab&maxPoolSize=1"
EXPECTED = rules.below("mean_ms", 0.8, "requests are quicker")


@dataclass
class Service:
    """A service that is never started; keeps how it would have been."""

    settings: Mapping[str, Any] = field(default_factory=lambda: {"mongodb_uri": URI, "cache": "off"})
    straight: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    def running(self, **changes: Any) -> AbstractContextManager[Any]:
        self.changes = changes
        return Elsewhere("http://127.0.0.1:1").running()


def made(name: str, service: Service | None, load: Load | None = None) -> Any:
    return interventions._made(name, load or Load("reads"), Elsewhere("http://127.0.0.1:1"), service)


@pytest.mark.parametrize(
    ("ratio", "outcome"),
    [
        (Ratio(0.5, 0.4, 0.6, 3, 0.1), True),
        (Ratio(0.7, 0.5, 0.95, 3, 0.1), None),
        (Ratio(1.0, 0.9, 1.1, 3, 0.1), False),
    ],
)
def test_it_confirms_only_by_the_whole_interval(ratio: Ratio, outcome: bool | None) -> None:
    assert confirms(EXPECTED, ratio) is outcome


def test_half_the_load_is_half_the_users_and_half_the_rate() -> None:
    assert half(Load("reads", users=16, rate=100.0)) == Load("reads", users=8, rate=50.0)
    assert half(Load("reads", users=1)) == Load("reads", users=1)


def test_more_connections_replace_the_number_in_the_uri() -> None:
    service = Service()
    assert made(interventions.CONNECTIONS, service) is not None
    assert service.changes == {"mongodb_uri": "mongodb://127.0.0.1:27017/?replicaSet=lab&maxPoolSize=50"}


def test_where_the_server_may_not_be_started_anew_only_the_load_is_changed() -> None:
    for name in (interventions.CONNECTIONS, interventions.STRAIGHT, interventions.CACHE):
        assert made(name, None) is None
    assert made(interventions.HALF, None).load.users == Load("reads").users // 2


def test_a_cache_is_tried_on_reads_that_have_none() -> None:
    service = Service()
    assert made(interventions.CACHE, service) is not None
    assert service.changes == {"cache": "tail"}
    assert made(interventions.CACHE, service, Load("writes")) is None
    assert made(interventions.CACHE, Service({"mongodb_uri": URI})) is None


def test_the_straight_way_is_taken_if_there_is_one() -> None:
    assert made(interventions.STRAIGHT, Service()) is None
    service = Service(straight="mongodb://127.0.0.1:1/")
    assert made(interventions.STRAIGHT, service) is not None
    assert service.changes == {"mongodb_uri": "mongodb://127.0.0.1:1/"}


def test_every_verdict_but_unknown_has_a_change_that_can_always_be_made() -> None:
    assert set(CHANGES) == set(rules.VERDICTS) - {rules.UNKNOWN}
    assert all(changes[-1].changed == interventions.HALF for changes in CHANGES.values())


def test_it_says_what_was_changed_and_whether_the_verdict_stood() -> None:
    ratio = paired_ratio([10.0, 11.0, 10.0], [5.0, 5.2, 5.1])
    found = interventions.Intervention("a cache", "mean_ms", 10.3, 5.1, ratio, True, "requests are quicker")
    assert "mean_ms 10.3 → 5.1" in str(found)
    assert "the verdict stood" in str(found)
    assert found.document()["interval"] == [ratio.low, ratio.high]
