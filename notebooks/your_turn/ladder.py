"""The tasks of notebook 07: what can be told apart, and the most that an optimisation can give."""

from collections.abc import Collection

import pandas as pd

from notebooks.your_turn.verdict import Verdict, not_yet, right, task

# Where the 1,000 µs of a request go.
PARTS = {"driver": 550.0, "JSON": 150.0, "HTTP": 200.0, "event loop": 100.0}
TOLERANCE = 0.02


@task("1,000 µs, divided by what is left of them")
def at_most(factor: float) -> Verdict:
    """Whether `factor` is how many times cheaper a request becomes that needs no driver and no JSON any more."""
    total = sum(PARTS.values())
    true = total / (total - PARTS["driver"] - PARTS["JSON"])
    if abs(factor - true) < TOLERANCE * true:
        return right(f"{true:.2f} times, and no cache of this kind will ever give more (Amdahl's law)")
    if abs(factor - total / (PARTS["driver"] + PARTS["JSON"])) < TOLERANCE * true:
        return not_yet("this divides by what is saved", "divide by what is left")
    return not_yet(f"not {factor:g}", "HTTP and the event loop stay: how much is that of 1,000 µs?")


@task("a list of names, such as ['+ cache']")
def apart(names: Collection[str], rungs: pd.DataFrame) -> Verdict:
    """Whether `names` are the steps whose capacity can be told from the first one's: the intervals do not overlap."""
    first = rungs.iloc[0]
    true = {str(name) for name, each in rungs.iterrows() if each["low"] > first["high"] or each["high"] < first["low"]}
    if missing := sorted(true - set(names)):
        return not_yet(f"{missing[0]!r} is missing", "its low lies above the first one's high")
    if extra := sorted(set(names) - true):
        return not_yet(f"{extra[0]!r} cannot be told from the first", "compare its low with the first one's high")
    return right(f"{len(true)} of {len(rungs) - 1} steps")
