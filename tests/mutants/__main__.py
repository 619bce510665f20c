"""Mutation testing, `python -m tests.mutants`: change one thing in a module, and see whether one of its tests fails.

`table.toml` names the modules, the tests of each, and the mutants that no test can tell from the original. The
working tree never changes: mutants run in copies of it.

Why a program of our own: mutmut (3.8) mutates no decorated function, so not `migrations.lease.held`, and no constant,
and chooses tests for all modules together; cosmic-ray (8.7) writes its mutants into the working tree.
"""

import importlib
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from tqdm import tqdm

from harness import interrupts, mongod
from tests.mutants.operators import Mutant, mutants
from tests.mutants.runs import Copy, Job, run_all
from tests.mutants.table import Table

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("table.toml")
REPORT = Path(".lab/mutants.json")
# Imported once, here, and not by each run.
LIBRARIES = (
    "hypothesis", "motor", "numpy", "prometheus_client", "pydantic", "requests", "scipy.optimize", "tornado.web"
)  # fmt: skip
# Hypothesis has the same examples each time; no pool of threads is forked.
ENVIRONMENT = {"CI": "true", "OPENBLAS_NUM_THREADS": "1"}
# For all tests of a mutant: this many times what they take without it, and some seconds more.
PATIENCE = 4.0
PATIENCE_SECONDS = 30.0
FIRST_SECONDS = 600.0


@dataclass(frozen=True)
class Result:
    """What became of a mutant: "killed" by a test or by the time limit, "survived", or "explained"."""

    module: str
    line: str
    becomes: str
    outcome: str
    diff: str


@click.command()
@click.option("--only", multiple=True, metavar="MODULE", help="Mutate this module alone. May be given again.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    help="Run so many mutants of each module, drawn by chance, but the same each time.",
)
@click.option("--survivors", is_flag=True, help=f"Run those again that survived in {REPORT}.")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count(), show_default=True, help="Runs at a time.")
def main(only: tuple[str, ...], sample: int | None, survivors: bool, jobs: int) -> None:
    """Change one thing at a time in the modules of tests/mutants/table.toml, and run their tests.

    Prints each change that no test noticed, and the score by module. Exit code 1 if there is one.

    \b
    python -m tests.mutants
    python -m tests.mutants --only server/timeline.py --sample 20
    """
    interrupts.handle()
    table = Table.read(TABLE)
    if unknown := [each for each in only if each not in table.modules]:
        raise click.UsageError(f"{unknown[0]} is not in {TABLE.name}: choose from {', '.join(table.modules)}")
    wanted = [mutant for module in only or table.modules for mutant in _of(module, sample)]
    if survivors:
        again = {(each["module"], each["line"], each["becomes"]) for each in _survivors()}
        wanted = [each for each in wanted if (each.module, each.line, each.becomes) in again]
    results: list[Result] = []
    try:
        for result in _run(wanted, table, jobs):
            results.append(result)
            if result.outcome == "survived":
                tqdm.write(f"{result.diff}\n")
    finally:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(json.dumps([asdict(each) for each in results], indent=1))
    click.echo(scores(results))
    raise SystemExit(any(each.outcome == "survived" for each in results))


def _of(module: str, sample: int | None) -> list[Mutant]:
    found = mutants(module, (ROOT / module).read_text())
    return found if sample is None else random.Random(0).sample(found, min(sample, len(found)))


def _survivors() -> list[dict[str, str]]:
    if not REPORT.exists():
        raise click.UsageError(f"there is no {REPORT} yet: run without --survivors first")
    return [each for each in json.loads(REPORT.read_text()) if each["outcome"] == "survived"]


def _run(wanted: Sequence[Mutant], table: Table, count: int) -> Iterator[Result]:
    """Run the tests of all `wanted` mutants, `count` at a time, on one MongoDB; gives each result when it is there."""
    os.environ.update(ENVIRONMENT)
    for name in LIBRARIES:
        importlib.import_module(name)
    sources = {module: (ROOT / module).read_text() for module in table.modules}
    unexplained = []
    for each in wanted:
        if table.why(each) is None:
            unexplained.append(each)
        else:
            yield _result(each, "explained", sources)
    with tempfile.TemporaryDirectory(prefix="mutants-") as name, ExitStack() as stack:
        directory = Path(name)
        uri = stack.enter_context(
            mongod.given_or_running(os.environ.get("LAB_MONGODB_URI"), directory, os.environ.get("LAB_MONGOD"))
        )
        copies = [Copy(ROOT, directory / f"copy{number}", {"LAB_MONGODB_URI": uri}) for number in range(count)]
        limits = _time_limits({each.module: sources[each.module] for each in unexplained}, table, copies)
        jobs = [Job(each.module, each.source, table.tests(each.module), limits[each.module]) for each in unexplained]
        for end in tqdm(run_all(jobs, copies), total=len(jobs), unit="mutant", disable=None):
            yield _result(unexplained[end.number], "survived" if end.passed else "killed", sources)


def _time_limits(sources: Mapping[str, str], table: Table, copies: Sequence[Copy]) -> dict[str, float]:
    """The seconds that the tests of each module may take, from what they take without a mutant."""
    modules = list(sources)
    jobs = [Job(each, sources[each], table.tests(each), FIRST_SECONDS) for each in modules]
    limits = {}
    for end in run_all(jobs, copies):
        if not end.passed:
            raise click.ClickException(f"{modules[end.number]}: its tests fail without a mutant\n{end.said}")
        limits[modules[end.number]] = PATIENCE * end.seconds + PATIENCE_SECONDS
    return limits


def _result(mutant: Mutant, outcome: str, sources: Mapping[str, str]) -> Result:
    return Result(mutant.module, mutant.line, mutant.becomes, outcome, mutant.diff(sources[mutant.module]))


def scores(results: Sequence[Result]) -> str:
    """A table of the outcomes by module. The score is the share that was killed of those that are not explained."""
    rows = [f"{'module':28}{'mutants':>9}{'killed':>9}{'explained':>11}{'survived':>10}{'score':>8}"]
    for module in [*dict.fromkeys(each.module for each in results), "all"]:
        count = Counter(each.outcome for each in results if module in {each.module, "all"})
        killed, explained, survived = (count[each] for each in ("killed", "explained", "survived"))
        score = f"{killed / (killed + survived):.1%}" if killed + survived else ""
        rows.append(f"{module:28}{count.total():9}{killed:9}{explained:11}{survived:10}{score:>8}")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
