"""The tasks of notebook 09: a fault that a checker finds, and how many members may die."""

from collections.abc import Callable, Sequence

from notebooks.your_turn.verdict import Verdict, not_yet, right, task
from practice.outages import checks, history

FRESH_SECONDS = 2.5
MEMBERS = range(1, 8)


@task("rows such as [(text, number, time), …]: begin with everything[-1].messages")
def doubled(rows: Sequence[tuple[str, int, str]], everything: Sequence[history.Record]) -> Verdict:
    """Whether a message is found to be stored twice, and none to be lost, if the database had `rows`."""
    seen = history.of([*everything[:-1], history.Stored(list(rows))])
    kinds = {each.kind for each in checks.findings(seen, FRESH_SECONDS)}
    if "lost" in kinds:
        return not_yet("an acknowledged message is lost", "keep all rows, and add to them")
    if "doubled" not in kinds:
        return not_yet("no message is found twice", "a message is known by its text")
    return right(f"found as {', '.join(sorted(kinds))}")


@task("a function of the number of members: lambda members: …")
def deaths(may_die: Callable[[int], int]) -> Verdict:
    """Whether `may_die` says how many members of a replica set may die at once, and writes go on."""
    for members in MEMBERS:
        said, true = may_die(members), (members - 1) // 2
        if said != true:
            hint = f"a majority of all {members} has to be left, and that is {members // 2 + 1}"
            return not_yet(f"of {members} members {said} may die, you say", hint)
    return right(f"of {MEMBERS[-1]} members {may_die(MEMBERS[-1])} may die; an even number helps nobody")
