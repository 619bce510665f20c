"""The command `python -m migrations`: see what a database needs, and bring it up to date."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, TypeVar

import click
from pymongo.errors import PyMongoError
from tqdm import tqdm

from harness import interrupts
from harness.mongod import MongodError
from harness.options import MongodbOptions, mongodb_options
from migrations import bench as benchmark
from migrations import runner
from migrations.lease import LEASE_SECONDS, WAIT_SECONDS
from migrations.operations import Found
from migrations.progress import bars
from migrations.runner import Options
from migrations.seed import seed as fill
from migrations.throttle import LIMIT_SECONDS

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Milliseconds(click.ParamType[float | None]):
    """A limit in milliseconds, to seconds; or `off`, which is None."""

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


def running(command: Command) -> Command:
    """Decorate a click command with how the runner is to behave."""
    seconds = click.FloatRange(0, 86_400)
    for decorate in (
        click.option(
            "--max-latency", "limit", type=Milliseconds(), default=f"{LIMIT_SECONDS * 1000:g}", show_default=True,
            help="How long a batch may take while others use the database; off: as fast as can be.",
        ),
        click.option(
            "--wait", type=seconds, default=WAIT_SECONDS, show_default=True,
            help="Seconds to wait for another runner to finish.",
        ),
        click.option(
            "--lease", type=click.FloatRange(0.5, 3600), default=LEASE_SECONDS, show_default=True,
            help="Seconds of silence after which another runner may take over.",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


@click.group()
def command() -> None:
    """Bring the database's documents from one version of the data model to the next.

    \b
    Examples:
      python -m migrations status
      python -m migrations plan
      python -m migrations up
      python -m migrations up 0002 --max-latency 50
      python -m migrations down 0001
      python -m migrations seed --version 1 --count 100000 --database practice
    """


@command.command()
@mongodb_options
@json_option
def status(as_json: bool, **mongodb: Any) -> None:
    """List every step and whether it was applied. Writes nothing."""
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
@running
@mongodb_options
@json_option
def up(target: str | None, as_json: bool, lease: float, wait: float, limit: float | None, **mongodb: Any) -> None:
    """Apply every pending step, or those up to TARGET (0002, say).

    With none pending, what servers of an older version have left since is brought up to date as well.
    """
    with _database(mongodb) as database, _shown(as_json, lease, wait, limit) as options:
        reports = runner.up(database, target, options)
    if as_json:
        _print_json([asdict(each) for each in reports])
    elif not reports:
        click.echo(_nothing_to_do(target))


@command.command()
@click.argument("target", required=False)
@running
@mongodb_options
@json_option
def down(target: str | None, as_json: bool, lease: float, wait: float, limit: float | None, **mongodb: Any) -> None:
    """Undo the last step, or all after TARGET (0 for every step). Nothing is lost that `up` cannot give back."""
    with _database(mongodb) as database, _shown(as_json, lease, wait, limit) as options:
        reports = runner.down(database, target, options)
    if as_json:
        _print_json([asdict(each) for each in reports])
    elif not reports:
        click.echo("nothing to undo")


@command.command()
@mongodb_options
@json_option
def verify(as_json: bool, **mongodb: Any) -> None:
    """Prove every step over all documents; list what contradicts it. Writes nothing.

    Exits with 1 if a step that was applied has offenders.
    """
    with _database(mongodb) as database:
        proofs, messages = runner.verify(database), database.messages.count_documents({})
    proved = not any(each.applied and each.offenders for each in proofs)
    if as_json:
        steps = [
            {
                "step": each.step,
                "applied": each.applied,
                "offenders": [_found(found) for found in each.offenders],
                "left": [_found(found) for found in each.left],
            }
            for each in proofs
        ]
        _print_json({"proved": proved, "messages": messages, "steps": steps})
    else:
        for each in proofs:
            verdict = "proved" if not each.offenders else "offenders"
            click.echo(f"{each.step:24} {verdict if each.applied else 'pending'}")
            for found in each.offenders:
                click.echo(f"    {found}")
            for found in each.left:
                click.echo(f"    as intended: {found}")
        click.echo(f"{messages:,} messages looked at")
    if not proved:
        sys.exit(1)


@command.command()
@click.option("--version", type=click.IntRange(1, len(runner.steps())), default=1, show_default=True)
@click.option("--count", type=click.IntRange(0), default=100_000, show_default=True, help="How many messages.")
@click.option("--stragglers", is_flag=True, help="Leave the messages in the shape of version 1 all the same.")
@mongodb_options
@json_option
def seed(version: int, count: int, stragglers: bool, as_json: bool, **mongodb: Any) -> None:
    """Fill an empty database with messages of the shape of VERSION, to practise on."""
    with _database(mongodb) as database, _shown(True, LEASE_SECONDS, WAIT_SECONDS, None, as_json) as options:
        fill(database, version, count, stragglers, options)
        name = database.name
    report = {"database": name, "version": version, "messages": count}
    if as_json:
        _print_json(report)
    else:
        click.echo(f"{name}: {count:,} messages of version {version}")


@command.command()
@click.option("--count", type=click.IntRange(1), default=100_000, show_default=True, help="How many documents.")
@click.option("--rounds", type=click.IntRange(1), default=6, show_default=True, help="Pairs of runs.")
@mongodb_options
@json_option
def bench(count: int, rounds: int, as_json: bool, **mongodb: Any) -> None:
    """Measure a backfill beside one bare updateMany, in turns, in a database of its own that is dropped afterwards."""
    with _database(mongodb) as database, bars() as bar:
        measured = benchmark.backfill(database, count, rounds, lambda done, total: bar("bench", done, total))
    if as_json:
        _print_json(asdict(measured))
    else:
        click.echo(str(measured))


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
        reason = str(error).split(", Timeout:")[0].split(", full error:")[0].split(" (configured")[0]
        raise click.ClickException(f"MongoDB did not do it ({reason}): start it, or correct --mongodb-uri") from error


@contextmanager
def _shown(
    quiet: bool, lease: float, wait: float, limit: float | None, as_json: bool | None = None
) -> Iterator[Options]:
    """How a run is shown: progress on stderr, as a bar or as JSON lines; reports on stdout, unless `quiet`."""
    with nullcontext(_json_line) if (quiet if as_json is None else as_json) else bars() as progress:
        yield Options(
            lease,
            wait,
            limit,
            progress=progress,
            finished=lambda each: None if quiet else _echo_above_the_bar(f"{each.step}: {each.report}"),
            waiting=lambda why: click.echo(why, err=True),
        )


def _echo_above_the_bar(line: str) -> None:
    with tqdm.external_write_mode():
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
    interrupts.handle()
    command(prog_name="python -m migrations")
