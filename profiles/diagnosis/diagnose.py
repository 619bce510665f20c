"""Diagnose a service: look, judge, test the verdict, and say all of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

from harness import progress
from loadtests.run import Load
from loadtests.targets import Running
from profiles.diagnosis.culprit import Culprit, find
from profiles.diagnosis.evidence import Evidence
from profiles.diagnosis.interventions import PAIRS, Changeable, Intervention, intervene
from profiles.diagnosis.observe import look
from profiles.diagnosis.rules import GIVE_INDEX, HEALTHY, LOOP_BLOCKED, QUERIES, SERVER_CPU, UNKNOWN
from profiles.diagnosis.verdict import Verdict, judge


@dataclass(frozen=True)
class Diagnosis:
    """A verdict, the intervention that tested it, and the function concerned.

    `intervention` is None if nothing could be changed, or was to be; `culprit` if no function was found.
    """

    verdict: Verdict
    intervention: Intervention | None = None
    culprit: Culprit | None = None

    @property
    def evidence(self) -> Evidence:
        """What the verdict was made of."""
        return self.verdict.evidence

    @property
    def confidence(self) -> float:
        """From 0 to 1: how much of what the verdict expects was seen; a quarter of it if the test went against it."""
        against = self.intervention is not None and self.intervention.confirms is False
        return self.verdict.confidence * (0.25 if against else 1.0)

    def document(self) -> dict[str, Any]:
        """The same for programs; what was not seen is null."""
        seen = self.evidence
        return {
            "verdict": self.verdict.verdict,
            "why": self.verdict.why,
            "confidence": round(self.confidence, 3),
            "evidence": _plain(self.verdict.signals()),
            "not_seen": self.verdict.not_seen(),
            "budget_ms": _plain(seen.budget.document()),
            "total_ms": _plain(seen.budget.total_ms),
            "residual_ms": _plain(seen.budget.residual_ms),
            "intervention": _plain(self.intervention.document()) if self.intervention else None,
            "next": list(self.next()),
        }

    def next(self) -> tuple[str, ...]:
        """What to do, and how much of a request's time it could save at most."""
        steps = (*([str(self.culprit)] if self.culprit else []), *self.verdict.next)
        part, ms = max(self.evidence.budget.parts.items(), key=lambda each: each[1], default=("", float("nan")))
        if self.verdict.verdict in (HEALTHY, UNKNOWN) or isnan(ms) or not self.evidence.budget.total_ms > 0:
            return steps
        share = ms / self.evidence.budget.total_ms
        return (
            *steps,
            f"the largest part of a request's time is {part!r}: {ms:.2f} ms, {share:.0%}; no more can be saved there",
        )

    def lines(self) -> list[str]:
        """The same in words."""
        verdict, seen = self.verdict, self.evidence
        said = [
            f"verdict: {verdict.verdict} (confidence {self.confidence:.0%})",
            f"  because {verdict.why}",
            "",
            "evidence",
        ]
        for each in verdict.signals():
            mark = "+" if each["speaks"] == "for" else "-"
            said.append(f"  {mark} {each['signal']:18} {each['value']:9.3g} {each['unit']:22} {each['says']}")
        if unseen := verdict.not_seen():
            said.append(f"  ? not seen: {', '.join(unseen)}")
        said += ["", "where a request's time goes (mean)", *(f"  {line}" for line in seen.budget.lines())]
        if self.intervention is not None:
            said += ["", "tested", f"  {self.intervention}"]
        if next_ := self.next():
            said += ["", "next", *(f"  {each}" for each in next_)]
        return said


def diagnose(
    load: Load,
    server: Running,
    folder: Path,
    service: Changeable | None = None,
    mongodb_uri: str | None = None,
    database: str | None = None,
    *,
    test: bool = True,
) -> Diagnosis:
    """Put `load` on `server`, judge what was seen and, with `test`, test the verdict.

    `service` may be started anew to that end. MongoDB is asked at `mongodb_uri`, or where the server's connections
    lead; `database` is the service's, any if None. Raises `RunError`.
    """
    asked: Mapping[str, Any] = {"mongodb_uri": mongodb_uri, "database": database}
    with progress.bar(f"diagnosing {folder.name}", 1 + (2 * PAIRS if test else 0), unit=" runs") as bar:
        verdict = judge(look(load, server.url, folder / "00 as it is", pid=server.pid, **asked))
        bar.update()
        if not test or verdict.verdict == UNKNOWN:
            return Diagnosis(verdict)
        tested = intervene(verdict, load, server, folder, service, asked, bar.update)
    if verdict.verdict not in (SERVER_CPU, LOOP_BLOCKED):
        return Diagnosis(verdict, tested)
    culprit = find(server, load, folder, blocked=verdict.verdict == LOOP_BLOCKED)
    if culprit is not None and culprit.in_sqlite:  # the database is in the server
        verdict = replace(verdict, verdict=QUERIES, why=f"{verdict.why}; {culprit}", next=(GIVE_INDEX,))
    return Diagnosis(verdict, tested, culprit)


def _plain(value: Any) -> Any:
    """The value with None in place of NaN, which JSON does not have."""
    if isinstance(value, float):
        return None if isnan(value) else round(value, 6)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
