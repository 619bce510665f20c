"""The command `python -m migrations`: see what a database needs, and bring it up to date."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from pymongo.errors import PyMongoError
from tqdm import tqdm

from migrations import runner
from server import mongod
from server.settings import flag, options

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
where = options("mongodb_uri", "database", "data_dir", "mongod")


@click.group()
def command() -> None:
    """Bring the database's documents from one version of the data model to the next.

    \b
    Examples:
      python -m migrations status
      python -m migrations up
      python -m migrations up 0001 --database practice
    """


@command.command()
@where
@json_option
def status(as_json: bool, **place: Any) -> None:
    """List every step and whether it was applied. Writes nothing."""
    with _database(place) as database:
        had = runner.applied(database)
    rows = [
        {
            "step": step.name,
            "applied_at": had[step.name]["at"].isoformat(timespec="seconds") if step.name in had else None,
            "title": step.title,
        }
        for step in runner.steps()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['step']:24} {row['applied_at'] or 'pending':28} {row['title']}")


@command.command()
@click.argument("target", required=False)
@where
@json_option
def up(target: str | None, as_json: bool, **place: Any) -> None:
    """Apply every pending step, or those up to TARGET (0002, say)."""
    reports = []
    with _database(place) as database:
        for step in runner.until(target, runner.pending(database)):
            with _progress_bar(step.name) as progress:
                report = runner.apply(database, step, progress)
            reports.append({"step": step.name, "report": report})
            if not as_json:
                click.echo(f"{step.name}: {report}")
    if as_json:
        click.echo(json.dumps(reports))
    elif not reports:
        click.echo(f"nothing to do: {'every step' if target is None else f'{target} and all before it'} is applied")


@contextmanager
def _database(place: dict[str, Any]) -> Iterator[runner.Database]:
    try:
        with mongod.given_or_running(place["mongodb_uri"], place["data_dir"], place["mongod"]) as uri:
            yield runner.connect(uri, place["database"])
    except (runner.MigrationError, mongod.MongodError) as error:
        raise click.ClickException(str(error)) from error
    except PyMongoError as error:
        reason = str(error).split(", Timeout:")[0]
        raise click.ClickException(
            f"MongoDB did not do it ({reason}): start it, or correct {flag('mongodb_uri')}"
        ) from error


@contextmanager
def _progress_bar(name: str) -> Iterator[runner.Progress]:
    with tqdm(desc=name, unit=" documents", file=sys.stderr, disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


if __name__ == "__main__":
    command(prog_name="python -m migrations")
