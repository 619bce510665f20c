"""The checker is checked: right servers must pass, and each server with one mistake must be caught."""

import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import processes
from harness.processes import Program
from practice import settings, stages
from practice.mutants import MUTANTS, REFERENCES, Mutant

# Stages under load are run one after the other; of the others, so many at a time.
LOADED = frozenset({7, 8})
JOBS = 3
POLL_SECONDS = 0.05
SECONDS_EACH = 900.0
QUICK_REFERENCE, QUICK_STAGES = "stdlib", (1, 2)
CAUGHT = frozenset({"fail", "remark"})
COULD_NOT_BE_ASKED = 2


@dataclass(frozen=True)
class Trial:
    """One server to be checked in some stages. `mutant` is None for a reference."""

    name: str
    folder: Path
    stages: tuple[int, ...]
    mutant: Mutant | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether it needs the machine for itself."""
        return bool(LOADED.intersection(self.stages))


@dataclass(frozen=True)
class Verdict:
    """What `check` said of a server: the outcome of each check by its id; `error` if it could not be asked.

    `is_broken` is set if `check` itself ended as it never should.
    """

    trial: Trial
    outcomes: dict[str, str] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0
    is_broken: bool = False

    @property
    def caught_by(self) -> list[str]:
        """The checks that found something, that which was meant for it first."""
        found = [each for each, outcome in self.outcomes.items() if outcome in CAUGHT]
        return sorted(found, key=lambda each: self.trial.mutant is None or each != self.trial.mutant.check)

    @property
    def is_caught(self) -> bool:
        """Whether some check found something, or the server could not even be asked."""
        return not self.is_broken and bool(self.caught_by or self.error)

    @property
    def is_caught_as_meant(self) -> bool:
        """Whether the check that is meant for this mistake found it."""
        return self.trial.mutant is not None and self.trial.mutant.check in self.caught_by

    @property
    def has_passed(self) -> bool:
        """Whether nothing failed."""
        return not self.error and "fail" not in self.outcomes.values()


def trials(folder: Path, *, quick: bool) -> Iterator[Trial]:
    """The references in all stages, and the mutants each in its own, written to `folder`; if `quick`, a few of them."""
    numbers = tuple(stage.number for stage in stages.STAGES)
    for reference in sorted(path for path in REFERENCES.iterdir() if (path / settings.FILE).is_file()):
        if not quick or reference.name == QUICK_REFERENCE:
            copy = folder / f"reference-{reference.name}"
            shutil.copytree(reference, copy, ignore=shutil.ignore_patterns(".practice", "__pycache__"))
            yield Trial(reference.name, copy, QUICK_STAGES if quick else numbers)
    seen: set[int] = set()
    for mutant in MUTANTS:
        if quick and (mutant.stage in seen or mutant.stage in LOADED):
            continue
        seen.add(mutant.stage)
        mutant.write(folder / mutant.name)
        yield Trial(mutant.name, folder / mutant.name, (mutant.stage,), mutant)


def missing_program(trial: Trial) -> str:
    """The program that this server needs and that this machine does not have; empty if it has it."""
    word = shlex.split(settings.of_folder(trial.folder).command or "")[0]
    return "" if shutil.which(word, path=settings.path_with_this_python()) else word


def run(todo: Sequence[Trial], each: Callable[[Verdict], None]) -> None:
    """Check every server with `python -m practice check`; `each` is called with every verdict as it comes."""
    for group, jobs in (([t for t in todo if not t.is_loaded], JOBS), ([t for t in todo if t.is_loaded], 1)):
        _run_group(group, jobs, each)


def _run_group(todo: list[Trial], jobs: int, each: Callable[[Verdict], None]) -> None:
    waiting, running = list(todo), dict[str, tuple[Trial, Program, float]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                trial = waiting.pop(0)
                running[trial.name] = (trial, _start(trial), time.monotonic())
            for name, (trial, program, begun) in list(running.items()):
                seconds = time.monotonic() - begun
                if program.is_running and seconds < SECONDS_EACH:
                    continue
                processes.stop(program)
                del running[name]
                each(_verdict(trial, program, seconds))
            time.sleep(POLL_SECONDS)
    finally:
        for _, program, _ in running.values():
            processes.stop(program)


def _start(trial: Trial) -> Program:
    chosen = [word for number in trial.stages for word in ("--stage", str(number))]
    command = [sys.executable, "-m", "practice", "check", str(trial.folder), "--json", *chosen]
    environment = {"VIRTUAL_ENV": None, "CONDA_PREFIX": None}  # `python` is the one that runs this
    return processes.start(command, trial.folder / "selftest.log", environment=environment)


def _verdict(trial: Trial, program: Program, seconds: float) -> Verdict:
    lines = program.last_lines()
    try:
        document: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        said = " ".join(program.last_lines(5)) or "it said nothing"
        return Verdict(trial, {}, said, seconds, is_broken=program.process.returncode != COULD_NOT_BE_ASKED)
    outcomes = {check["id"]: check["outcome"] for stage in document["stages"] for check in stage["checks"]}
    return Verdict(trial, outcomes, seconds=seconds)


def line(verdict: Verdict) -> str:
    """One line about one server."""
    name, took = verdict.trial.name, f"{verdict.seconds:.0f} s"
    if verdict.trial.mutant is None:
        passed = sum(outcome == "pass" for outcome in verdict.outcomes.values())
        said = f"{passed} of {len(verdict.outcomes)} checks passed"
        others = [f"{id}: {outcome}" for id, outcome in verdict.outcomes.items() if outcome != "pass"]
        mark = "✓" if verdict.has_passed else "✗"
        return f"  {mark} {name:<46} {'; '.join([said, *others])}{verdict.error and ' ' + verdict.error}  ({took})"
    mutant = verdict.trial.mutant
    if verdict.is_caught_as_meant:
        return f"  ✓ {name:<46} {mutant.check}"
    if verdict.is_caught:
        return f"  ~ {name:<46} by {', '.join(verdict.caught_by[:3]) or verdict.error}, meant was {mutant.check}"
    unasked = "" if verdict.outcomes.get(mutant.check) != "not asked" else ", which was not asked"
    return f"  ✗ {name:<46} NOT CAUGHT, meant was {mutant.check}{unasked} {verdict.error}".rstrip()


def summary(verdicts: Collection[Verdict]) -> list[str]:
    """What it comes to."""
    references = [each for each in verdicts if each.trial.mutant is None]
    mutants = [each for each in verdicts if each.trial.mutant is not None]
    languages = {settings.of_folder(each.trial.folder).command.split()[0] for each in references}  # type: ignore[union-attr]
    needed = {id for each in mutants for id in each.caught_by}
    asked = {check.id for each in verdicts for stage in each.trial.stages for check in stages.STAGES[stage - 1].checks}
    spare = [check.id for stage in stages.STAGES for check in stage.checks if check.id in asked - needed]
    as_meant = sum(each.is_caught_as_meant for each in mutants)
    caught = sum(each.is_caught for each in mutants)
    return [
        f"references  {sum(each.has_passed for each in references)} of {len(references)} passed"
        f" ({', '.join(sorted(languages))})",
        f"mutants     {caught} of {len(mutants)} caught: {as_meant} by the check that was meant,"
        f" {caught - as_meant} by another",
        f"checks      {len(asked)}; those that no mutant needs: {', '.join(spare) or 'none'}",
    ]


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder for the servers, for as long as they are checked."""
    return tempfile.TemporaryDirectory(prefix="practice-selftest-", ignore_cleanup_errors=True)
