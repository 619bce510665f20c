"""The command `python -m practice`: write a server of your own, and know whether it is right."""

from harness import interrupts

if __name__ == "__main__":
    interrupts.handle()  # before the imports, which take seconds

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from harness import progress
from harness.mongod import MongodError
from harness.options import HEADER
from harness.processes import ProgramError
from harness.progress import Bar
from loadtests.run import RunError
from practice import (
    findings,
    grade,
    hints,
    history,
    measured,
    render,
    report,
    results,
    runner,
    selftest,
    settings,
    stages,
)
from practice import start as start_server
from practice.check import Stage
from practice.results import StageResult
from practice.server import START_SECONDS
from practice.settings import SettingsError, Target

Command = TypeVar("Command", bound=Callable[..., Any])
FOLDER = click.argument("folder", required=False, type=click.Path(path_type=Path))
START = click.option(
    "--start-seconds",
    default=START_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="How long the server may take to get ready.",
)


class StageType(click.ParamType[Stage]):
    """A stage, by its number or its name."""

    name = "stage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Stage:
        if isinstance(value, Stage):
            return value
        try:
            return stages.find(str(value))
        except KeyError:
            known = ", ".join(f"{each.number} ({each.name})" for each in stages.STAGES)
            self.fail(f"there is no stage {value}; the stages are {known}", param, ctx)


class TakesStages(click.Command):
    """A command whose option `--stage` takes one value or several, once or repeatedly."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {str(word) for each in stages.STAGES for word in (each.number, each.name)}
        spread: list[str] = []
        for number, word in enumerate(args):
            follows_a_stage = number >= 2 and args[number - 1] in known and len(spread) >= 2 and spread[-2] == "--stage"
            spread += ["--stage", word] if word in known and follows_a_stage else [word]
        return super().parse_args(ctx, spread)


@click.group()
def command() -> None:
    """Write a message service of your own, in any language, and know whether it is right.

    \b
    Examples:
      python -m practice start my-server --language python
      python -m practice stages
      python -m practice show 1
      python -m practice check my-server --stage 1
      python -m practice hint scaffolding.at_once my-server
      python -m practice measure my-server
    """


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--language", type=click.Choice(sorted(start_server.COMMANDS)), default="python", show_default=True)
def start(folder: Path, language: str) -> None:
    """Write a first server to FOLDER: some lines that answer GET /, the tasks, and practice.toml."""
    with _explained():
        for path in start_server.start(folder, language):
            click.echo(path)
    click.echo(f"\npython -m practice show 1\npython -m practice check {folder} --stage 1")


@command.command("stages")
def list_stages() -> None:
    """List the stages."""
    for each in stages.STAGES:
        click.echo(f"{each.number}  {each.name:<12} {each.task}")
    click.echo("\npython -m practice show 1")


@command.command()
@click.argument("stage", type=StageType())
def show(stage: Stage) -> None:
    """Show STAGE: the task, the contract by examples, and what will be checked."""
    _echo(render.stage(stage))


@command.command(cls=TakesStages)
@FOLDER
@click.option("--command", "command_line", help='A command that starts the server: "python app.py --port {port}".')
@click.option("--url", help="A server that runs already. What needs restarts is not asked.")
@click.option("--stage", "chosen", type=StageType(), multiple=True, help="Only this stage, or several.")
@click.option("--all", "everything", is_flag=True, help="Show every check, and not only the first that failed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--yes-it-is-mine", is_flag=True, help="The server at --url is yours, although on another machine.")
@HEADER
@START
def check(
    folder: Path | None,
    command_line: str | None,
    url: str | None,
    chosen: tuple[Stage, ...],
    everything: bool,
    as_json: bool,
    yes_it_is_mine: bool,
    headers: tuple[tuple[str, str], ...],
    start_seconds: float,
) -> None:
    """Check the server in FOLDER (the current one if left out), or that of --command, or at --url.

    The server in FOLDER runs as you, and so does the one of --command. Exit status: 0 if nothing failed, 1 if
    something did, 2 if it could not be asked.

    \b
    Examples:
      python -m practice check my-server
      python -m practice check my-server --stage 1 2 --all
      python -m practice check --command "node server.mjs {port} {data}" --stage messages
      python -m practice check --url http://127.0.0.1:8000 --json
      python -m practice check --url http://127.0.0.1:8000 --header "Authorization: Bearer KEY"
    """
    with _explained():
        target = replace(_target(folder, command_line, url, yes_it_is_mine), headers=dict(headers))
        asked = [stage for stage in stages.STAGES if stage in chosen or not chosen]
        found: list[StageResult] = []
        for stage in asked:
            found.append(_run(target, stage, start_seconds))
            if not as_json:
                _echo(render.stage_result(found[-1], everything=everything))
        _remember(target, found)
    click.echo(json.dumps(results.as_json(found), ensure_ascii=False) if as_json else render.summary(found))
    sys.exit(1 if any(each.count("fail") for each in found) else 0)


@command.command()
@click.argument("check")
@FOLDER
def hint(check: str, folder: Path | None) -> None:
    """Give a hint for CHECK, such as messages.limit: one step further each time you ask."""
    try:
        stages.check(check)
    except KeyError:
        raise click.UsageError(f"there is no check {check}: see `python -m practice show STAGE`") from None
    number, count, text = hints.next_one(check, (folder or Path.cwd()) / ".practice")
    click.echo(f"{text}  ({number} of {count})")


@command.command("report")
@FOLDER
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file; .practice/report.html if left out."
)
def write_report(folder: Path | None, output: Path | None) -> None:
    """Write one page about the server in FOLDER: the stages, what failed, and when each check first passed."""
    with _explained():
        target = settings.of_folder(folder or Path())
        path = output or target.own_files / "report.html"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(report.render(target), encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"cannot write {path}: {error.strerror}") from error
    click.echo(path)


@command.command("measure")
@FOLDER
@click.option("--command", "command_line", help='A command that starts the server: "python app.py --port {port}".')
@click.option("--url", help="A server that runs already. It must be on this machine for its costs to be seen.")
@click.option("--yes-it-is-mine", is_flag=True, help="The server at --url is yours, although on another machine.")
@HEADER
@click.option("--within", default=50.0, show_default=True, type=click.FloatRange(min=1), help="The promise: p95 in ms.")
@click.option(
    "--seconds", default=1.5, show_default=True, type=click.FloatRange(min=1), help="How long each run lasts."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def measure_server(
    folder: Path | None,
    command_line: str | None,
    url: str | None,
    yes_it_is_mine: bool,
    headers: tuple[tuple[str, str], ...],
    within: float,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure the server in FOLDER beside the lab's own: capacity, cost of a request, where the time goes.

    Reads, writes and both, on this machine; takes some ten minutes, in which the machine should have nothing else to
    do. Stage 2 must pass, and is checked first. The result is kept for `report`.

    \b
    Examples:
      python -m practice measure my-server
      python -m practice measure my-server --seconds 5 --within 100
    """
    # pandas and scipy take longer to import than most checks take: only who measures waits for them.
    from loadtests.capacity import Slo
    from practice import measure

    with _explained():
        target = replace(_target(folder, command_line, url, yes_it_is_mine), headers=dict(headers))
        found = measure.measure(target, Slo(milliseconds=within), seconds, lambda what: click.echo(what, err=True))
        if (target.folder / settings.FILE).is_file() and target.command is not None:
            with suppress(OSError):  # what cannot be written is shown all the same
                measured.save(found, target.own_files)
    if as_json:
        click.echo(found.model_dump_json())
    else:
        _echo(findings.lines(found, target.answers.slow))


@command.command("grade")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--stage", "chosen", type=StageType(), multiple=True, help="Only this stage; can be repeated.")
@click.option("--seconds-each", default=600.0, show_default=True, type=click.FloatRange(min=1), help="Time for each.")
def grade_folders(folders: tuple[Path, ...], chosen: tuple[Stage, ...], seconds_each: float) -> None:
    """Check each of FOLDERS and print CSV, one row for each: checks passed in each stage, and what went wrong.

    The servers in FOLDERS are other people's programs, and run as you, with all that you may do: look at them first, or
    use an account or a container that has nothing to lose.

    \b
    Example:
      python -m practice grade class/* --seconds-each 300 > marks.csv
    """
    numbers = [each.number for each in chosen]
    writer = csv.DictWriter(sys.stdout, grade.COLUMNS, lineterminator="\n")
    writer.writeheader()
    for folder in progress.bar("grading", len(folders), iterable=folders, unit=" folders", delay=2):
        writer.writerow(grade.grade(folder, numbers, seconds_each))
        sys.stdout.flush()


@command.command("selftest")
@click.option("--quick", is_flag=True, help="One reference and a few mutants only.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this reference or mutant; can be repeated.")
def run_selftest(quick: bool, only: tuple[str, ...]) -> None:
    """Check the checker: references must pass every stage, and mutants, with one mistake each, must be caught."""
    verdicts: list[selftest.Verdict] = []
    with selftest.scratch() as folder:
        todo = [each for each in selftest.trials(Path(folder), quick=quick) if not only or each.name in only]
        for each in todo:
            if word := selftest.missing_program(each):
                click.echo(f"  · {each.name:<46} not run: there is no {word} on this machine")
        todo = [each for each in todo if not selftest.missing_program(each)]
        with progress.bar("checking the checker", len(todo), unit=" servers", delay=2) as bar:

            def tell(verdict: selftest.Verdict) -> None:
                verdicts.append(verdict)
                bar.update()
                with Bar.external_write_mode(file=sys.stderr):
                    click.echo(selftest.line(verdict))

            selftest.run(todo, tell)
        click.echo("\n".join(["", *selftest.summary(verdicts)]))
    good = all(each.has_passed if each.trial.mutant is None else each.is_caught for each in verdicts)
    sys.exit(0 if good else 1)


def _remember(target: Target, found: list[StageResult]) -> None:
    """Keep the results in the learner's folder, for the report."""
    if (target.folder / settings.FILE).is_file() and target.command is not None:
        with suppress(OSError):  # what cannot be written is not worth to stop for
            history.add(target.own_files, found)


def _target(folder: Path | None, command_line: str | None, url: str | None, is_mine: bool) -> Target:
    if sum(each is not None for each in (folder, command_line, url)) > 1:
        raise click.UsageError("give one of: a folder, --command, --url")
    if command_line is not None:
        return settings.of_command(command_line)
    return settings.of_url(url, is_mine=is_mine) if url is not None else settings.of_folder(folder or Path())


def _run(target: Target, stage: Stage, start_seconds: float) -> StageResult:
    """Run one stage, with a progress bar if it takes long."""
    with progress.bar(f"stage {stage.number}", len(stage.checks), unit=" checks", delay=2) as bar:
        return runner.run_stage(target, stage, start_seconds=start_seconds, each=lambda result: _advance(bar))


def _advance(bar: "Bar[Any]") -> None:
    bar.update()


@contextmanager
def _explained() -> Iterator[None]:
    """Tell in one message, with exit status 2, why a server could not be asked."""
    try:
        yield
    except (SettingsError, ProgramError, MongodError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except RunError as error:
        click.echo(f"Error: the load did not run: {error}", err=True)
        sys.exit(2)


def _echo(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line)


if __name__ == "__main__":
    command(prog_name="python -m practice")
