"""The score of the diagnosis, from made-up results: what is good enough, and what is not."""

from typing import Any

import pandas as pd

from profiles.diagnosis import rules
from profiles.diagnosis.score import Score

RIGHT = {"fault": "network", "right": rules.NETWORK, "verdict": rules.NETWORK, "good": True, "confidence": 1.0,
         "residual": 0.05, "confirms": True}  # fmt: skip
HEALTHY = RIGHT | {"fault": "none", "right": rules.HEALTHY, "verdict": rules.HEALTHY}
WRONG = RIGHT | {"verdict": rules.POOL, "good": False}


def not_good(*rows: dict[str, Any]) -> list[str]:
    lines = Score(pd.DataFrame([*rows])).lines()
    return [line.partition("  ")[0] for line in lines if "NOT GOOD" in line]


def test_all_right_and_confirmed_is_good() -> None:
    score = Score(pd.DataFrame([RIGHT, HEALTHY]))
    assert score.good
    assert score.matrix.loc["network", rules.NETWORK] == 1


def test_a_wrong_verdict_is_worse_if_it_was_sure_and_was_confirmed() -> None:
    others = [RIGHT] * 18 + [HEALTHY]
    assert not_good(*others, WRONG) == ["wrong with confidence", "wrong verdicts confirmed"]
    assert not_good(*others, WRONG | {"confidence": 0.25, "confirms": False}) == []
    assert not_good(*others, WRONG | {"confidence": 0.25, "confirms": None}) == []


def test_too_many_unknown_are_not_good() -> None:
    unknown = WRONG | {"verdict": rules.UNKNOWN, "confidence": 0.0, "confirms": None}
    assert not_good(*[RIGHT] * 8, HEALTHY, unknown) == ["unknown"]


def test_a_healthy_service_may_not_be_called_otherwise() -> None:
    sick = HEALTHY | {"verdict": rules.POOL, "good": False, "confidence": 0.2, "confirms": None}
    assert not_good(*[RIGHT] * 18, HEALTHY, sick) == ["healthy called otherwise"]


def test_what_is_left_over_counts_in_either_direction() -> None:
    assert not_good(RIGHT, HEALTHY, RIGHT | {"residual": -0.4}) == ["left over of the time, most"]


def test_a_test_that_does_not_tell_confirms_nothing() -> None:
    assert not_good(*[RIGHT] * 2, HEALTHY, RIGHT | {"confirms": None}) == ["right verdicts confirmed"]
