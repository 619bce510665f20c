"""The command `python -m loadtests`: load a running service and say what came of it."""

import json
from math import isnan
from pathlib import Path

import click
import requests as http

from loadtests import bench as benchmark
from loadtests import ingest
from loadtests import migration as live
from loadtests.experiment import new_folder
from loadtests.rows import ROWS
from loadtests.run import Load, RunError
from loadtests.run import run as run_locust
from loadtests.scenarios import SCENARIOS
from loadtests.wrk import WrkError
from server.launch import LaunchError
from server.mongod import MongodError

TITLES = {
    "requests_per_s": "successful requests/s",
    "refused_per_s": "refused requests/s (429)",
    "failed_per_s": "failed requests/s",
    "p50_ms": "median latency, ms",
    "p95_ms": "95th percentile, ms",
    "p99_ms": "99th percentile, ms",
    "server_us": "server CPU, µs per successful request",
    "mongod_us": "mongod CPU, µs per successful request",
    "server_cores": "server CPU, cores",
    "mongod_cores": "mongod CPU, cores",
    "locust_cores": "Locust CPU, cores",
}


@click.group()
def command() -> None:
    """Load the message service: a running one with Locust, or one beside its peers with wrk.

    \b
    Examples:
      python -m loadtests run reads
      python -m loadtests run mixed --rate 300 --seconds 30 --json
      python -m loadtests bench
      python -m loadtests bench tornado limit --rounds 2 --seconds 1
      python -m loadtests migration
    """


@command.command()
@click.argument("scenario", type=click.Choice(sorted(SCENARIOS)))
@click.option(
    "--url", envvar="LAB_URL", default="http://127.0.0.1:8000", show_default=True, show_envvar=True, help="The service."
)
@click.option("--users", default=Load.users, show_default=True, type=click.IntRange(1), help="How many at a time.")
@click.option(
    "--seconds", default=10.0, show_default=True, type=click.FloatRange(0, min_open=True), help="How long is measured."
)
@click.option("--warmup", default=Load.warmup, show_default=True, type=click.FloatRange(0), help="Seconds before that.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Requests per second; as fast as answered if left out."
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="A new folder for the results; in .lab/runs if left out."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def run(
    scenario: str,
    url: str,
    users: int,
    seconds: float,
    warmup: float,
    rate: float | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Run SCENARIO, and print what was measured. The run folder keeps everything else."""
    url, folder = url.rstrip("/"), folder or new_folder(scenario)
    if folder.exists():
        raise click.UsageError(f"{folder} exists: name a folder that does not")
    try:
        http.get(f"{url}/healthz", timeout=5).raise_for_status()
        run_locust(Load(scenario, users, seconds, warmup, rate), url, folder)
        summary = ingest.summary(folder)
    except http.RequestException as error:
        raise click.ClickException(f"no message service answers at {url}: start one with make serve") from error
    except (RunError, ingest.IngestError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        # JSON has no NaN: what is unknown is null.
        known = {name: None if isinstance(value, float) and isnan(value) else value for name, value in summary.items()}
        click.echo(json.dumps(known | {"folder": str(folder)}))
        return
    for name, title in TITLES.items():
        click.echo(f"{title:40} {summary[name]:10,.1f}")
    click.echo(f"{'run folder':40} {folder}")
    if summary["void"]:
        click.echo(f"Do not quote this as the service's rate or latency: {summary['void']}.", err=True)


@command.command()
@click.argument("names", metavar="[ROW]...", nargs=-1, type=click.Choice([row.name for row in ROWS]))
@click.option(
    "--rounds",
    default=benchmark.ROUNDS,
    show_default=True,
    type=click.IntRange(2),
    help="How often each side is loaded.",
)
@click.option(
    "--seconds", default=benchmark.SECONDS, show_default=True, type=click.IntRange(1), help="How long each time."
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="A new folder for the results; in .lab/runs if left out."
)
def bench(names: tuple[str, ...], rounds: int, seconds: int, folder: Path | None) -> None:
    """Measure the service beside its peers, on a MongoDB of its own: all rows, or only each ROW named.

    Prints one table. The exit code is 0 if every row was measured, whether it reached its goal or not.
    """
    folder = folder or new_folder("bench")
    if folder.exists():
        raise click.UsageError(f"{folder} exists: name a folder that does not")
    rows = [row for row in ROWS if not names or row.name in names]
    try:
        results = benchmark.measure(rows, folder, rounds, seconds)
    except (WrkError, MongodError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"the run folder {folder} cannot be made: {error.strerror}") from error
    click.echo(benchmark.table(results))
    click.echo(f"run folder {folder}", err=True)
    if void := [result.row.name for result in results if result.void]:
        raise click.ClickException(f"void, so nothing is said about them: {', '.join(void)}")


@command.command()
@click.option("--messages", default=1_000_000, show_default=True, type=click.IntRange(1), help="To be migrated.")
@click.option("--rounds", default=6, show_default=True, type=click.IntRange(2), help="Pairs with and without.")
@click.option("--rate", default=200.0, show_default=True, type=click.FloatRange(1), help="Requests per second.")
@click.option("--seconds", default=8.0, show_default=True, type=click.FloatRange(1), help="How long a round measures.")
def migration(messages: int, rounds: int, rate: float, seconds: float) -> None:
    """Measure a migration beside a bare updateMany, and what live requests notice of it. Takes minutes."""
    try:
        click.echo(live.speed(min(messages, 100_000), rounds))
        click.echo(str(live.measure(messages, rounds, Load("mixed", 16, seconds, 2.0, rate), new_folder("migration"))))
    except (RunError, ingest.IngestError, LaunchError, MongodError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    command(prog_name="python -m loadtests")
