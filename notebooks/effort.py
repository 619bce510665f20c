"""How much the notebooks measure: in full, or for a first look of three minutes (`make lab QUICK=1`).

The one place for what differs between the two. A quick run is of the exercise itself: it leaves out the notebooks that
go beyond it, and cells with the tag FULL_TAG. What was measured quickly has wide intervals and is marked in the report.
"""

import os
from dataclasses import dataclass

VARIABLE = "LAB_QUICK"
# The notebooks of a quick run, as their names begin.
EXERCISE = ("00", "01", "02", "03", "04", "05", "06")
FULL_TAG = "full"


@dataclass(frozen=True)
class Effort:
    """How long and how often: the numbers that the notebooks pass on."""

    run: dict[str, float]  # the seconds of a run, as the arguments of `Load`
    rounds: int  # pairs of runs of a comparison
    step: float  # by which the ends of a capacity may differ
    recordings: int  # rounds of a profile
    waits: bool  # whether what threads wait for is recorded, too
    overload: float  # seconds of an overload
    writes: int  # messages, to see how old a list is
    full_load: float  # seconds of a diagnosis
    migration: float  # seconds of load beside a migration


FULL = Effort(
    run={"seconds": 1.5}, rounds=6, step=1.25, recordings=2, waits=True, overload=2.0, writes=6,
    full_load=3.0, migration=8.0,
)  # fmt: skip
QUICK = Effort(
    run={"seconds": 0.7, "warmup": 0.3}, rounds=3, step=2.0, recordings=1, waits=False, overload=1.0,
    writes=4, full_load=1.0, migration=4.0,
)  # fmt: skip


def is_quick() -> bool:
    """Whether little is to be measured."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


EFFORT = QUICK if is_quick() else FULL
