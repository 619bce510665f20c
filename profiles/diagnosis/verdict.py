"""From the evidence to a verdict, by the table of rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isnan, nan
from typing import Any

from loadtests.summary import MACHINE_FULL as SUMMARY_FULL
from profiles.diagnosis.evidence import SIGNALS, Evidence
from profiles.diagnosis.rules import HEALTHY, RULES, UNKNOWN, Finding, Rule, Test

KEPT_UP = 0.99
# An operation in MongoDB of so many ms, or with so many documents for each that it returns, is an expensive query.
SLOW_MS, MANY_DOCUMENTS = 5.0, 50.0
WORK_FOR_OTHERS = 0.3  # MongoDB worked for other databases for so much of the time: worth a word
IN_USE = ("network or commit", "unread by MongoDB", "in MongoDB", "unread from MongoDB")  # the parts with a connection


@dataclass(frozen=True)
class Verdict:
    """The verdict and why; `confidence` is from 0 to 1.

    `findings` are about every rule, and `by` is the one that decided, if one did. `next` says what to do, in sentences.
    """

    verdict: str
    why: str
    confidence: float
    evidence: Evidence
    findings: tuple[Finding, ...] = field(repr=False)
    by: Finding | None = field(default=None, repr=False)
    next: tuple[str, ...] = ()

    def signals(self) -> list[dict[str, Any]]:
        """The signals that were asked about the verdict: what was seen, what it says, and whether it speaks for it."""
        return [
            {"signal": test.signal, "value": self.evidence[test.signal], "unit": unit(test.signal),
             "says": test.says if holds else f"not so: {test.says}",
             "speaks": "for" if holds == (self.by is not None and test not in self.by.rule.unless) else "against"}
            for test, holds in self._tests().items() if holds is not None
        ]  # fmt: skip

    def not_seen(self) -> list[str]:
        """The signals that were asked about the verdict, and could not be seen."""
        return [test.signal for test, holds in self._tests().items() if holds is None]

    def _tests(self) -> Mapping[Test, bool | None]:
        if self.by is not None:
            return self.by.tests
        # No cause was found: what each of them needs first, and that it is not so speaks for this verdict.
        return {finding.rule.needs[0]: finding.tests[finding.rule.needs[0]] for finding in self.findings}


# Signals that are made of others, with their units: see `_combined`.
COMBINED = {
    "generator_limited": "(1: so)",
    "generator_share": "of the time",
    "own_share": "of the time",
    "loop_ms": "ms",
    "server_pressed": "of what it can use",
    "mongod_pressed": "of what it can use",
    "query_cost": "times a costly one",
    "queue_ratio": "times its use",
    "ping_share": "of an operation",
    "held_ms": "ms",
}


def unit(signal: str) -> str:
    """The unit of a signal."""
    return SIGNALS[signal].unit if signal in SIGNALS else COMBINED.get(signal, "of the time")


def judge(seen: Evidence) -> Verdict:
    """What the evidence allows to be said."""
    seen = replace(seen, values={**seen.values, **_combined(seen)})
    findings = tuple(_finding(rule, seen) for rule in RULES)

    def said(verdict: str, why: str, confidence: float = 0.0, next_: tuple[str, ...] = ()) -> Verdict:
        return Verdict(verdict, why, confidence, seen, findings, next=next_)

    if seen.lost:
        return said(UNKNOWN, seen.lost)
    holding = [each for each in findings if each.holds]
    explained = {verdict for each in holding for verdict in each.rule.explains}
    causes = [each for each in holding if each.rule.verdict not in explained] or holding
    if len({each.rule.verdict for each in causes}) == 1:
        found = max(causes, key=lambda each: each.confidence)
        return Verdict(
            found.rule.verdict, _why(found, seen), found.confidence, seen, findings, found, _next(found, seen)
        )
    if causes:
        names = " and for ".join(each.rule.verdict for each in causes)
        return said(UNKNOWN, f"the evidence is for {names}", 0.0, tuple(each.rule.next for each in causes))
    if seen["answered_share"] >= KEPT_UP and not seen["failed_share"] > 0:
        return said(
            HEALTHY, f"{seen['answered_share']:.1%} of what was due was answered, in {seen['mean_ms']:.1f} ms", 1.0
        )
    return said(UNKNOWN, _nothing_found(seen, findings))


def _combined(seen: Evidence) -> dict[str, float]:
    """Signals that are made of others, for the table of rules."""
    in_use = seen.budget.share(*IN_USE)
    cost = [seen["operation_ms"] / SLOW_MS, seen["examined"] / MANY_DOCUMENTS]
    void = seen.generator if not seen.generator.startswith(SUMMARY_FULL) else ""
    return {
        "generator_limited": float(bool(void)),
        "generator_share": seen.budget.share_of_all("waiting to be sent", "answer unread"),
        "own_share": seen.budget.share("unread by the server", "application", "answer unsent", "driver's threads"),
        "loop_ms": _largest(seen["lag_ms"], seen["unread_ms"]),
        "server_pressed": _sum(seen["server_cpu"], seen["server_delayed"]),
        "mongod_pressed": _sum(seen["mongod_cpu"], seen["mongod_delayed"]),
        "query_cost": _largest(*cost),
        # Waiting for a connection or a thread, and using it.
        "queue_ratio": seen["pool_share"] / in_use if in_use else nan,
        "ping_share": seen["ping_ms"] / seen["use_ms"] if seen["use_ms"] else nan,
        # With a connection, and neither in MongoDB by its own clock, nor on the way, nor at its disk, as a commit is.
        "held_ms": seen["use_ms"] - seen["operation_ms"] - seen["ping_ms"] - _sum(0.0, seen["sync_ms"]),
    }


def _largest(*values: float) -> float:
    return max((each for each in values if not isnan(each)), default=nan)


def _sum(*values: float) -> float:
    known = [each for each in values if not isnan(each)]
    return sum(known) if known else nan


def _finding(rule: Rule, seen: Evidence) -> Finding:
    tests = {test: test(seen) for test in (*rule.needs, *rule.expects, *rule.unless)}
    needs = [tests[test] for test in rule.needs]
    if any(each is False for each in needs) or any(tests[test] for test in rule.unless):
        return Finding(rule, False, tests)
    return Finding(rule, None if None in needs else True, tests)


def _why(found: Finding, seen: Evidence) -> str:
    return "; ".join(f"{test.says} ({seen[test.signal]:.3g} {unit(test.signal)})" for test in found.rule.needs)


def _next(found: Finding, seen: Evidence) -> tuple[str, ...]:
    steps = [found.rule.next]
    if seen.query is not None and found.rule.verdict.startswith("database"):
        steps.append(f"MongoDB was busiest with {seen.query}")
    if seen["others_inside"] > WORK_FOR_OTHERS and found.rule.verdict.startswith("database"):
        steps.append(f"MongoDB also worked for other databases, {seen['others_inside']:.0%} of the time: see for whom")
    return tuple(steps)


def _nothing_found(seen: Evidence, findings: tuple[Finding, ...]) -> str:
    unseen = [each.rule.verdict for each in findings if each.holds is None]
    hidden = f"; not seen: {', '.join(unseen)}" if unseen else ""
    if seen["failed_share"] > 0:
        return f"{seen['failed_share']:.1%} of the requests failed, and no cause was at its limit{hidden}"
    if seen["answered_share"] < KEPT_UP:
        return f"only {seen['answered_share']:.1%} of what was due was answered, and no cause was at its limit{hidden}"
    return f"nothing was at its limit: offer more, by --users or --rate{hidden}"
