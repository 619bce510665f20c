"""The clock of all that is logged in a run: Unix time at first, and never set back or forth after that.

Wall clocks are corrected while a test runs, virtual machines' by seconds. `time.perf_counter` is not, and
is the same for all processes of a machine; so a process tells those it starts what to add to it.
"""

import os
import time

VARIABLE = "LOADTESTS_CLOCK"
OFFSET = float(os.environ.get(VARIABLE) or time.time() - time.perf_counter())


def now() -> float:
    """The time, in Unix seconds."""
    return OFFSET + time.perf_counter()


def for_children() -> dict[str, str]:
    """The environment of a process that shares this clock."""
    return os.environ | {VARIABLE: repr(OFFSET)}
