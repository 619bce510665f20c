"""Name what limits a service from the evidence: server CPU, database, pool, load generator, rate limit, or unknown.

A cause is named only if its own evidence says so and no other's does: a wrong answer costs more than "unknown".
"""

from dataclasses import asdict, dataclass, field
from math import isnan
from typing import Any

from loadtests.summary import FULL_MACHINE
from profiles.evidence import Evidence

RATE_LIMIT = "rate limit"
DATABASE = "database"
POOL = "connection pool"
UNKNOWN = "unknown"
# Shares from which on something is a cause, and cores from which on one Python process is at its limit.
REFUSED_LIMIT = 0.05
CPU_LIMIT = 0.85
MOST = 0.5
# Operations queue for a connection if they wait for it longer than they then use it, by this factor.
QUEUE = 2.0
# Shorter waits are what handing a connection over takes.
POOL_LIMIT_MS = 1.0


@dataclass(frozen=True)
class Candidate:
    """A possible cause, whether the evidence is for it (None: there is none), and the evidence in words."""

    cause: str
    found: bool | None
    why: str


@dataclass(frozen=True)
class Diagnosis:
    """The one cause that the evidence shows, or UNKNOWN; why, in words; and what was found about each cause."""

    cause: str
    why: str
    findings: tuple[Candidate, ...] = field(repr=False)

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {"cause": self.cause, "why": self.why, "findings": [asdict(each) for each in self.findings]}


def diagnose(seen: Evidence) -> Diagnosis:
    """What the evidence allows to be said."""
    findings = (
        Candidate(
            RATE_LIMIT, _above(seen.refused, REFUSED_LIMIT), f"{seen.refused:.0%} of the requests were refused (429)"
        ),
        Candidate("load generator", bool(seen.generator), seen.generator or "Locust had processor time to spare"),
        Candidate(
            "server CPU",
            _above(seen.server_cores, CPU_LIMIT),
            f"its busiest process used {seen.server_cores:.0%} of a core; its event loop was {seen.lag_ms:.1f} ms late",
        ),
        Candidate(
            POOL,
            _both(_above(seen.pool_ms, QUEUE * seen.operation_ms), _above(seen.pool_ms, POOL_LIMIT_MS)),
            f"an operation waited {seen.pool_ms:.1f} ms for a free connection; MongoDB takes "
            f"{seen.operation_ms:.1f} ms for one, or for a ping",
        ),
        Candidate(
            DATABASE,
            _both(_above(seen.waited_for_database, MOST), seen.slow_for_others or _above(seen.proven_inside, MOST)),
            f"requests spent {seen.waited_for_database:.0%} of their time on MongoDB; its counters and a ping "
            f"({seen.probe_ms:.1f} ms) account for {seen.proven_inside:.0%} of it, on {seen.mongod_cores:.1f} cores",
        ),
    )
    found = [each for each in findings if each.found]
    if seen.lost:
        return Diagnosis(UNKNOWN, seen.lost, findings)
    if seen.kept_up:
        return Diagnosis(UNKNOWN, "it answered all that was offered: nothing was at its limit", findings)
    if found and found[0].cause == RATE_LIMIT:
        # What is let in is then too little to show a limit of the database, however long that takes.
        found = [each for each in found if each.cause not in (DATABASE, POOL)]
    if len(found) == 1:
        return Diagnosis(found[0].cause, found[0].why, findings)
    if found:
        return Diagnosis(UNKNOWN, f"the evidence is for {' and for '.join(each.cause for each in found)}", findings)
    if seen.machine >= FULL_MACHINE:
        return Diagnosis(UNKNOWN, f"no cause stands out, and {seen.machine:.0%} of the machine was busy", findings)
    return Diagnosis(UNKNOWN, "nothing was at its limit: offer more, by --users or --rate", findings)


def _above(value: float, limit: float) -> bool | None:
    return None if isnan(value) or isnan(limit) else value >= limit


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True
