"""The tasks of notebook 05: a limit that keeps p95, and group commit on paper."""

from collections.abc import Callable, Sequence

from limits import parse

from loadtests import overload
from notebooks.your_turn.verdict import Verdict, not_yet, right, task

P95_MS = 50.0
# A limit that is further below the capacity than this refuses what the server could have stored.
LEAST = 0.3
# Times at which writes arrive, and how long a commit takes, both in ms; and who shares a commit.
CASES: Sequence[tuple[list[float], float, list[list[float]]]] = (
    ([0, 1, 2, 12], 10, [[0], [1, 2], [12]]),
    ([0, 5, 50, 51, 52], 10, [[0], [5], [50], [51, 52]]),
    ([0, 1, 11, 12, 25], 10, [[0], [1], [11, 12], [25]]),
    ([], 10, []),
)


@task('a rate in quotation marks, such as "100/second"')
def limit(rate: str, capacity: float) -> Verdict:
    """Whether a server that can store `capacity` writes a second keeps its latency under overload, with this limit."""
    parsed = parse(rate)
    per_second = parsed.amount / parsed.get_expiry()
    if per_second >= capacity:
        return not_yet(f"the server cannot store {per_second:,.0f} a second", f"its capacity is {capacity:,.0f}")
    if per_second < LEAST * capacity:
        hint = f"it could store {capacity:,.0f} a second: raise the limit"
        return not_yet(f"{per_second:,.0f} a second refuses more than it has to", hint)
    found = overload.with_limit(capacity, rate)
    if found["p95_ms"] > P95_MS:
        hint = "writes still wait for each other: leave more room below the capacity"
        return not_yet(f"95 % of the admitted writes took up to {found['p95_ms']:,.0f} ms", hint)
    return right(
        f"95 % of the admitted writes took at most {found['p95_ms']:,.0f} ms, at {overload.TIMES:.0f} times too many"
    )


@task("a function group(arrivals, commit_ms) that returns lists of arrivals: who shares a commit")
def groups(group: Callable[[list[float], float], list[list[float]]]) -> Verdict:
    """Whether `group` says which writes share a commit: what arrives while one lasts is the next one."""
    for arrivals, commit, expected in CASES:
        found = [list(each) for each in group(list(arrivals), commit)]
        if found != expected:
            return not_yet(f"{arrivals} with commits of {commit} ms gave {found}", _hint(arrivals, found))
    return right(f"the {len(CASES)} cases are grouped as the service does it")


def _hint(arrivals: list[float], found: list[list[float]]) -> str:
    if sorted(each for batch in found for each in batch) != arrivals:
        return "every arrival is in exactly one batch"
    if all(len(batch) == 1 for batch in found):
        return "that is a commit for each write: what arrives while one lasts waits, and shares the next"
    return "an idle server commits at once, so the first to arrive is alone; the next commit begins when that one ends"
