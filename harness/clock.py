"""A monotonic clock in Unix seconds, shared by the processes of a run.

Wall clocks are adjusted while a test runs, on virtual machines by seconds. `time.perf_counter` is monotonic, and is the
same for all processes of a machine; so the first process determines its offset from Unix time, and children inherit it.
"""

import os
import time

VARIABLE = "LOADTESTS_CLOCK"
OFFSET = float(os.environ.get(VARIABLE) or time.time() - time.perf_counter())


def now() -> float:
    """The current time in Unix seconds."""
    return OFFSET + time.perf_counter()


def for_children() -> dict[str, str]:
    """The environment for a child process that shares this clock."""
    return os.environ | {VARIABLE: repr(OFFSET)}
