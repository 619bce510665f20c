"""How much the notebooks measure: in full, or little of everything for a first look (`make lab QUICK=1`).

The one place for how long and how often. What was measured quickly has wide intervals, and is marked in the report.
"""

import os
from dataclasses import dataclass

VARIABLE = "LAB_QUICK"


@dataclass(frozen=True)
class Effort:
    """How long and how often: the numbers that the notebooks pass on."""

    run: dict[str, float]  # the seconds of a run, as the arguments of `Load`
    rounds: int  # pairs of runs of a comparison
    step: float  # by which the ends of a capacity may differ
    recordings: int  # rounds of a profile
    overload: float  # seconds of an overload
    writes: int  # messages, to see how old a list is
    full_load: float  # seconds of a diagnosis
    test: bool  # whether its verdict is tested
    migration: float  # seconds of load beside a migration


FULL = Effort(
    run={"seconds": 1.5}, rounds=6, step=1.25, recordings=2, overload=3.0, writes=12, full_load=3.0,
    test=True, migration=11.0,
)  # fmt: skip
QUICK = Effort(
    run={"seconds": 0.7, "warmup": 0.3}, rounds=3, step=4.0, recordings=1, overload=1.0, writes=4,
    full_load=1.0, test=False, migration=7.0,
)  # fmt: skip


def is_quick() -> bool:
    """Whether little is to be measured."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


EFFORT = QUICK if is_quick() else FULL
