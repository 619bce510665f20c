"""What came out of a run: totals, and each finding with the fault that it came with."""

from collections import Counter
from collections.abc import Sequence

from practice.outages.checks import CHECKERS, Finding, longest_gap
from practice.outages.history import Fault, History

SHOWN = 5  # findings of each kind that are printed
AFTER_SECONDS = 5.0  # what goes wrong so soon after a fault is healed is shown beside it


def table(histories: Sequence[History], findings: Sequence[Finding]) -> str:
    """The totals: faults by kind with the longest time without writes, then each kind of finding."""
    lines = [f"{'fault':58}{'times':>7}{'longest s without writes':>27}"]
    for kind, faults in sorted(_by_kind(histories).items()):
        gap = max(longest_gap(history, each.began, each.healed) for history, each in faults)
        lines.append(f"{kind:58}{len(faults):7}{gap:27.1f}")
    injected = sum(len(each.kind.split(" + ")) for history in histories for each in history.fault)
    lines += ["", f"{'faults':24}{injected:9,}"]
    lines.append(f"{'acknowledged writes':24}{sum(len(each.acknowledged()) for each in histories):9,}")
    lines.append(f"{'requests':24}{sum(len(each.asked()) for each in histories):9,}")
    counts = Counter(each.kind for each in findings)
    lines += [f"{kind:24}{counts[kind]:9,}" for kind in CHECKERS]
    lines.append(f"{'longest without writes':24}{max(map(longest_gap, histories), default=0):9.1f} s")
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


def _by_kind(histories: Sequence[History]) -> dict[str, list[tuple[History, Fault]]]:
    found: dict[str, list[tuple[History, Fault]]] = {}
    for history in histories:
        for each in history.fault:
            found.setdefault(each.kind, []).append((history, each))
    return found


def _at(moment: float, faults: Sequence[Fault]) -> str:
    for number, each in enumerate(faults, 1):
        if each.began <= moment <= each.healed + AFTER_SECONDS:
            return f"{moment - each.began:.2f} s after fault {number} of {len(faults)} began: {each.kind}"
    return "with no fault"
