"""Results, stages and hints as they read in a terminal."""

import textwrap
from collections.abc import Iterator, Sequence

from click import style

from practice.check import Stage
from practice.results import CheckResult, StageResult

WIDTH = 100
MARKS = {"pass": ("✓", "green"), "fail": ("✗", "red"), "remark": ("!", "yellow"), "not asked": ("·", "bright_black")}


def stage_result(result: StageResult, *, everything: bool) -> Iterator[str]:
    """The lines about one stage: how many checks passed, and the first that failed; or each check with `everything`."""
    title = f"stage {result.stage}  {result.name}"
    passed = f"{result.count('pass')} of {len(result.checks)}"
    yield style(f"{title:<48}", bold=True) + passed + _not_asked(result)
    failed = [each for each in result.checks if each.outcome == "fail"]
    for each in result.checks:
        if everything or each in failed[:1] or (each.outcome == "remark" and not failed):
            yield from check_result(each)
    if not everything and failed[1:]:
        yield style(
            f"    {len(failed) - 1} more failed: add --all to see {'it' if len(failed) == 2 else 'them'}", dim=True
        )
    if failed and result.repeat:
        yield style(f"    to repeat it by hand, start your server with its data: {result.repeat}", dim=True)


def _not_asked(result: StageResult) -> str:
    number = result.count("not asked")
    return style(f"  ({number} not asked)", dim=True) if number else ""


def check_result(result: CheckResult) -> Iterator[str]:
    """The lines about one check: its sentence, and unless it passed, one exchange that shows why not."""
    mark, colour = MARKS[result.outcome]
    yield f"  {style(mark, fg=colour)} {style(f'{result.id:<18}', bold=result.outcome == 'fail')} {result.says}"
    if result.outcome == "not asked":
        yield _field("", result.expected)
    if result.outcome not in {"fail", "remark"}:
        return
    yield _field("asked", result.asked)
    yield _field("answered", result.answered)
    yield _field("expected", result.expected)
    for number, line in enumerate(result.printed):
        yield _field("printed" if number == 0 else "", line)
    yield _field("why", result.why)
    yield _field("next", f"python -m practice hint {result.id}")


def _field(name: str, text: str) -> str:
    first, *others = text.splitlines() or [""]
    return "\n".join([f"      {style(f'{name:<10}', dim=True)} {first}", *(f"{'':17}{each}" for each in others)])


def summary(results: Sequence[StageResult]) -> str:
    """The last line: how much passed."""
    count = {each: sum(result.count(each) for result in results) for each in ("pass", "fail", "remark", "not asked")}
    words = [f"{count['pass']} passed", f"{count['fail']} failed"]
    words += [f"{count['remark']} remarked on"] if count["remark"] else []
    words += [f"{count['not asked']} not asked"] if count["not asked"] else []
    return style(", ".join(words), fg="red" if count["fail"] else "green", bold=True)


def stage(stage: Stage) -> Iterator[str]:
    """The task of a stage: what to build, the contract by examples, and what will be checked."""
    yield style(f"Stage {stage.number}: {stage.name}", bold=True)
    yield from ["", *textwrap.wrap(stage.task, WIDTH), "", style("The contract", bold=True)]
    yield from (f"  {line}" for line in stage.contract.splitlines())
    yield from ["", style("What will be checked", bold=True)]
    for each in stage.checks:
        yield f"  {each.id:<24}{each.says}" + (style("  (remarked on only)", dim=True) if each.remark else "")
    yield from ["", f"python -m practice check --stage {stage.number}"]
