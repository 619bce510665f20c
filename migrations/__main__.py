"""The command `python -m migrations`: migrate a database, and back it up."""

from harness import interrupts

if __name__ == "__main__":
    interrupts.handle()  # before the imports, which take seconds

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
from pymongo.errors import PyMongoError

from harness.mongod import MongodError
from harness.options import MongodbOptions, mongodb_options
from harness.progress import Bar
from migrations import backup, documents, runner
from migrations import bench as benchmark
from migrations.errors import explained
from migrations.lease import LEASE_SECONDS, WAIT_SECONDS
from migrations.operations import Found
from migrations.progress import bars
from migrations.runner import Options
from migrations.seed import seed as fill
from migrations.throttle import LIMIT_SECONDS

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Milliseconds(click.ParamType[float | None]):
    """Converts a limit in milliseconds to seconds, and `off` to None."""

    name = "ms|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if value == "off":
            return None
        try:
            milliseconds = float(value)
            if not 0 < milliseconds < 1e6:
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is no limit: write a number of milliseconds such as 20, or 'off'", param, ctx)
        return milliseconds / 1000


def run_options(command: Command) -> Command:
    """Add the options of `up` and `down` to a click command, as the arguments `limit`, `wait` and `lease`."""
    seconds = click.FloatRange(0, 86_400)
    for decorate in (
        click.option(
            "--max-latency", "limit", type=Milliseconds(), default=f"{LIMIT_SECONDS * 1000:g}", show_default=True,
            help="Longest duration of a batch while others use the database; off: no throttling.",
        ),
        click.option(
            "--wait", type=seconds, default=WAIT_SECONDS, show_default=True,
            help="Seconds to wait for another runner to finish.",
        ),
        click.option(
            "--lease", type=click.FloatRange(0.5, 3600), default=LEASE_SECONDS, show_default=True,
            help="Seconds without renewal after which another runner may take over.",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


@click.group()
def command() -> None:
    """Migrate the database from one version of the data model to another.

    \b
    Examples:
      python -m migrations status
      python -m migrations plan
      python -m migrations up
      python -m migrations up 0002 --max-latency 50
      python -m migrations down 0001
      python -m migrations seed --version 1 --count 100000 --database practice
      python -m migrations dump monday.backup
      python -m migrations restore monday.backup --database monday
    """


@command.command()
@mongodb_options
@json_option
def status(as_json: bool, **mongodb: Any) -> None:
    """List every step and when it was applied. Writes nothing."""
    with _database(mongodb) as database:
        states = runner.status(database)
    if as_json:
        _print_json([{**asdict(each), "applied_at": _time(each.applied_at)} for each in states])
        return
    for each in states:
        click.echo(f"{each.step:24} {_time(each.applied_at) or 'pending':28} {each.title}")
    for each in states:
        if each.problem:
            click.echo(f"Attention: {each.problem}", err=True)


@command.command()
@click.argument("target", required=False)
@mongodb_options
@json_option
def plan(target: str | None, as_json: bool, **mongodb: Any) -> None:
    """Show what `up` would do, and how many documents each step would change. Writes nothing."""
    with _database(mongodb) as database:
        planned = runner.plan(database, target)
    if as_json:
        _print_json([asdict(each) for each in planned])
        return
    for each in planned:
        click.echo(f"{each.step:24} {each.documents:12,} documents   {each.title}")
    if not planned:
        click.echo(_nothing_to_do(target))


@command.command()
@click.argument("target", required=False)
@run_options
@mongodb_options
@json_option
def up(target: str | None, **options: Any) -> None:
    """Apply every pending step, or those up to TARGET (for example 0002).

    If none is pending, documents that servers of an older version have written since are updated.
    """
    _migrate(runner.up, target, _nothing_to_do(target), **options)


@command.command()
@click.argument("target", required=False)
@run_options
@mongodb_options
@json_option
def down(target: str | None, **options: Any) -> None:
    """Revert the last step, or all after TARGET (0 for every step). Removes only what `up` can restore."""
    _migrate(runner.down, target, "nothing to undo", **options)


@command.command()
@mongodb_options
@json_option
def verify(as_json: bool, **mongodb: Any) -> None:
    """Check all documents against every step, and list the offenders that contradict it. Writes nothing.

    Exits with 1 if an applied step has offenders, or if there are documents that are no messages.
    """
    with _database(mongodb) as database:
        results, messages = runner.verify(database), database.messages.count_documents({})
        no_messages = documents.no_messages(database)
    proved = not no_messages and not any(each.applied and each.offenders for each in results)
    if as_json:
        steps = [
            {
                "step": each.step,
                "applied": each.applied,
                "offenders": [_found(found) for found in each.offenders],
                "left": [_found(found) for found in each.exceptions],
            }
            for each in results
        ]
        odd = [_found(found) for found in no_messages]
        _print_json({"proved": proved, "messages": messages, "steps": steps, "no_messages": odd})
    else:
        for each in results:
            verdict = "proved" if not each.offenders else "offenders"
            click.echo(f"{each.step:24} {verdict if each.applied else 'pending'}")
            for found in each.offenders:
                click.echo(f"    {found}")
            for found in each.exceptions:
                click.echo(f"    as intended: {found}")
        for found in no_messages:
            click.echo(f"no message: {found}")
        click.echo(f"{messages:,} messages looked at")
    if not proved:
        sys.exit(1)


@command.command()
@click.option("--version", type=click.IntRange(1, len(runner.steps())), default=1, show_default=True)
@click.option("--count", type=click.IntRange(0), default=100_000, show_default=True, help="Number of messages.")
@click.option("--stragglers", is_flag=True, help="Leave the messages in the shape of version 1.")
@mongodb_options
@json_option
def seed(version: int, count: int, stragglers: bool, as_json: bool, **mongodb: Any) -> None:
    """Fill an empty database with messages in the shape of an older version."""
    with _database(mongodb) as database, _options(as_json, limit=None, print_reports=False) as options:
        fill(database, version, count, stragglers, options)
        name = database.name
    report = {"database": name, "version": version, "messages": count}
    if as_json:
        _print_json(report)
    else:
        click.echo(f"{name}: {count:,} messages of version {version}")


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@mongodb_options
@json_option
def dump(file: Path, as_json: bool, **mongodb: Any) -> None:
    """Write the database to FILE, as it is at one moment, while others may use it."""
    with _database(mongodb) as database, bars() as bar:
        _print_backup(backup.dump(database, file, bar), file, as_json)


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Drop everything that the database holds first.")
@mongodb_options
@json_option
def restore(file: Path, replace: bool, as_json: bool, **mongodb: Any) -> None:
    """Make an empty database what it was when FILE was written. Stop the services that use it."""
    with _database(mongodb) as database, bars() as bar:
        _print_backup(backup.restore(database, file, bar, replace=replace), file, as_json)


@command.command()
@click.option("--count", type=click.IntRange(1), default=100_000, show_default=True, help="Number of documents.")
@click.option("--rounds", type=click.IntRange(1), default=6, show_default=True, help="Number of pairs of runs.")
@mongodb_options
@json_option
def bench(count: int, rounds: int, as_json: bool, **mongodb: Any) -> None:
    """Compare the speed of a backfill with that of a single updateMany, in a database that is dropped afterwards."""
    with _database(mongodb) as database, bars() as bar:
        measured = benchmark.backfill(database, count, rounds, lambda done, total: bar("bench", done, total))
    if as_json:
        _print_json(asdict(measured))
    else:
        click.echo(str(measured))


def _print_backup(done: backup.Backup, file: Path, as_json: bool) -> None:
    if as_json:
        _print_json(asdict(done))
    else:
        _echo_above_the_bar(f"{file}: {done}")


def _migrate(
    run: Callable[[runner.Database, str | None, Options], list[runner.Report]],
    target: str | None,
    nothing: str,
    as_json: bool,
    lease: float,
    wait: float,
    limit: float | None,
    **mongodb: Any,
) -> None:
    """Run `up` or `down`, and print the reports, or the text `nothing` if there are none."""
    with _database(mongodb) as database, _options(as_json, lease, wait, limit, print_reports=not as_json) as options:
        reports = run(database, target, options)
    if as_json:
        _print_json([asdict(each) for each in reports])
    elif not reports:
        click.echo(nothing)


@contextmanager
def _database(given: dict[str, Any]) -> Iterator[runner.Database]:
    try:
        with MongodbOptions(**given).running() as uri:
            database = runner.connect(uri, given["database"])
            try:
                yield database
            finally:
                database.client.close()
    except (runner.MigrationError, MongodError) as error:
        raise click.ClickException(str(error)) from error
    except PyMongoError as error:
        raise click.ClickException(explained(error)) from error


@contextmanager
def _options(
    as_json: bool,
    lease: float = LEASE_SECONDS,
    wait: float = WAIT_SECONDS,
    limit: float | None = LIMIT_SECONDS,
    *,
    print_reports: bool,
) -> Iterator[Options]:
    """Options that show progress on stderr, as bars or JSON lines, and print the report of each step on stdout."""
    with nullcontext(_json_line) if as_json else bars() as progress:
        yield Options(
            lease,
            wait,
            limit,
            progress=progress,
            finished=lambda each: _echo_above_the_bar(f"{each.step}: {each.report}") if print_reports else None,
            waiting=lambda text: click.echo(text, err=True),
        )


def _echo_above_the_bar(line: str) -> None:
    with Bar.external_write_mode():
        click.echo(line)


def _json_line(step: str, done: int, total: int) -> None:
    print(json.dumps({"step": step, "done": done, "total": total}), file=sys.stderr, flush=True)


def _nothing_to_do(target: str | None) -> str:
    return f"nothing to do: {'every step' if target is None else f'{target} and all before it'} is applied"


def _time(when: Any) -> str | None:
    return None if when is None else str(when.isoformat(timespec="seconds"))


def _found(found: Found) -> dict[str, Any]:
    return {"count": found.count, "what": found.what, "ids": [str(id) for id in found.ids]}


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value))


if __name__ == "__main__":
    command(prog_name="python -m migrations")
