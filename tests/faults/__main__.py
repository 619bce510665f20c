"""The command `python -m tests.faults`: break one part after another, and check that nothing is lost or hidden."""

import random
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
from pymongo.errors import PyMongoError

from harness import interrupts, progress
from harness.mongod import MongodError
from harness.processes import ProgramError
from practice.outages.checks import Finding
from tests.faults.embedded import EMBEDDED
from tests.faults.kinds import FAULTS
from tests.faults.planted import BUGS
from tests.faults.run import Plan, histories, judged, read_plan, run
from tests.faults.totals import table, told

RUNS = Path(".lab/faults")
PLANTED_SECONDS = 60.0


@click.command()
@click.option("--faults", type=click.IntRange(0), default=40, show_default=True, help="How many faults to inject.")
@click.option("--writes", type=click.IntRange(0), default=0, help="Go on until so many writes are acknowledged.")
@click.option("--seconds", type=click.FloatRange(1), default=1800.0, show_default=True, help="Begin no fault later.")
@click.option("--seed", type=int, help="Decides which faults come when; by chance if not given.")
@click.option(
    "--only", multiple=True, type=click.Choice([*FAULTS, *EMBEDDED]), help="Inject this kind. May be repeated."
)
@click.option("--planted", is_flag=True, help="Run services with planted bugs instead: the checkers have to find each.")
@click.option("--bug", multiple=True, type=click.Choice(list(BUGS)), help="Plant this bug alone. May be repeated.")
@click.option("--replay", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Check a kept run again.")
@click.option("--again", is_flag=True, help="With --replay: run the same faults with the same seed again, too.")
@click.option("--keep", is_flag=True, help="Keep the run's folder even if nothing was wrong.")
def command(
    faults: int,
    writes: int,
    seconds: float,
    seed: int | None,
    only: tuple[str, ...],
    planted: bool,
    bug: tuple[str, ...],
    replay: Path | None,
    again: bool,
    keep: bool,
) -> None:
    """Inject faults into a replica set, two services and the network between them, under traffic, and check everything.

    Exit code 1 if anything was lost, doubled, hidden, stale, cut off, in disorder, or needed a hand. Then the history,
    the seed and the logs are kept in .lab/faults.

    \b
    Examples:
      python -m tests.faults --faults 200 --writes 100000
      python -m tests.faults --only 'primary killed' --faults 5 --seed 1
      python -m tests.faults --planted
      python -m tests.faults --replay .lab/faults/20240229-120000 --again
    """
    interrupts.handle()
    try:
        if replay is not None:
            sys.exit(_replay(replay, again, keep))
        if planted or bug:
            sys.exit(_planted(bug or tuple(BUGS), seed or 1, keep))
        chosen = random.randrange(1 << 30) if seed is None else seed
        sys.exit(bool(_run(Plan(chosen, faults, writes, seconds, only), keep)))
    except (MongodError, ProgramError, PyMongoError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise click.Abort from None


def _run(plan: Plan, keep: bool) -> Sequence[Finding]:
    """Run a plan, print its totals, and keep its folder if there are findings, which are returned."""
    folder = RUNS / f"{datetime.now():%Y%m%d-%H%M%S}"
    try:
        with progress.bar("faults", plan.faults) as bar:
            run(plan, folder, bar)
        found = _show(folder)
    except BaseException:
        click.echo(f"what was recorded so far is in {folder}", err=True)
        raise
    finally:
        for data in [*folder.glob("member*/mongod"), *folder.glob("*/data")]:
            shutil.rmtree(data, ignore_errors=True)
    if found or keep:
        click.echo(f"kept: {folder}; python -m tests.faults --replay {folder}")
    else:
        shutil.rmtree(folder)
    return found


def _show(folder: Path) -> Sequence[Finding]:
    recorded = histories(folder)
    found = judged(recorded)
    click.echo(table(recorded, found))
    if found:
        click.echo(told(recorded, found))
    return found


def _replay(folder: Path, again: bool, keep: bool) -> int:
    found = _show(folder)
    if again:
        found = [*found, *_run(read_plan(folder), keep)]
    return int(bool(found))


def _planted(bugs: Sequence[str], seed: int, keep: bool) -> int:
    """Plant one bug after another; 1 if one was not found."""
    missed = 0
    for name in bugs:
        bug = BUGS[name]
        plan = Plan(seed, len(bug.faults), 0, PLANTED_SECONDS, bug.faults, name)
        kinds = {each.kind for each in _run(plan, keep)}
        is_found = not bug.found_as.isdisjoint(kinds)
        missed += not is_found
        click.echo(f"{name}: {'found' if is_found else 'NOT FOUND'}, as {', '.join(sorted(kinds)) or 'nothing'}\n")
    return int(missed > 0)


if __name__ == "__main__":
    command(prog_name="python -m tests.faults")
