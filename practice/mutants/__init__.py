"""Reference servers in which one thing is wrong, to see whether the checks notice it.

`MUTANTS` lists all of them. `python -m practice.mutants NAME DIR` writes one to a folder, to look at or to check.
"""

from practice.mutants import messages, reads, replies, scaffolding, slack, times, twilio, writes
from practice.mutants.mutant import REFERENCES, STAGES, Change, Mutant

__all__ = ["MUTANTS", "REFERENCES", "STAGES", "Change", "Mutant", "by_name"]

MUTANTS: tuple[Mutant, ...] = (
    *scaffolding.MUTANTS,
    *messages.MUTANTS,
    *times.MUTANTS,
    *replies.MUTANTS,
    *twilio.MUTANTS,
    *slack.MUTANTS,
    *reads.MUTANTS,
    *writes.MUTANTS,
)


def by_name(name: str) -> Mutant:
    """Return the mutant of this name. Raises `KeyError`."""
    return {each.name: each for each in MUTANTS}[name]
