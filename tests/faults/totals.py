"""What came out of a run: totals, and each finding with the fault that it came with."""

import itertools
from collections import Counter
from collections.abc import Sequence

from practice.outages.checks import CHECKERS, Finding, gaps, longest_gap
from practice.outages.history import Fault, History

SHOWN = 5  # findings of each kind that are printed
AFTER_SECONDS = 5.0  # what goes wrong so soon after a fault is healed is shown beside it


def table(histories: Sequence[History], findings: Sequence[Finding]) -> str:
    """The totals: faults by kind with the longest time without writes, then each kind of finding."""
    longest = _longest_gaps(histories)
    lines = [f"{'fault':58}{'times':>7}{'longest s without writes':>27}"]
    lines += [f"{kind:58}{len(seconds):7}{max(seconds):27.1f}" for kind, seconds in sorted(longest.items())]
    injected = sum(len(each.kind.split(" + ")) for history in histories for each in history.fault)
    lines += ["", f"{'faults':24}{injected:9,}"]
    lines.append(f"{'acknowledged writes':24}{sum(len(each.acknowledged()) for each in histories):9,}")
    lines.append(f"{'requests':24}{sum(len(each.asked()) for each in histories):9,}")
    counts = Counter(each.kind for each in findings)
    lines += [f"{kind:24}{counts[kind]:9,}" for kind in CHECKERS]
    without = max([longest_gap(histories[0]), *itertools.chain(*longest.values())])
    lines.append(f"{'longest without writes':24}{without:9.1f} s")
    return "\n".join(lines)


def told(histories: Sequence[History], findings: Sequence[Finding]) -> str:
    """The first findings of each kind, each with the fault it came with."""
    faults = sorted((each for history in histories for each in history.fault), key=lambda each: each.began)
    lines = []
    for kind in CHECKERS:
        found = [each for each in findings if each.kind == kind]
        lines += [f"{kind}: {each.text}\n    {_at(each.at, faults)}" for each in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"{kind}: and {len(found) - SHOWN:,} more")
    return "\n".join(lines)


def _longest_gaps(histories: Sequence[History]) -> dict[str, list[float]]:
    """The longest time without an acknowledged write of each fault, in seconds, by its kind.

    One that ends after all was well again is not the fault's: on an embedded mongod nobody writes between two faults.
    """
    found: dict[str, list[float]] = {}
    for history in histories:
        between = gaps(history)
        for each in history.fault:
            longest = max((b - a for a, b in between if each.began < b <= each.healed), default=0.0)
            found.setdefault(each.kind, []).append(longest)
    return found


def _at(moment: float, faults: Sequence[Fault]) -> str:
    for number, each in enumerate(faults, 1):
        if each.began <= moment <= each.healed + AFTER_SECONDS:
            return f"{moment - each.began:.2f} s after fault {number} of {len(faults)} began: {each.kind}"
    return "with no fault"
