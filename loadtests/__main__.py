"""The command `python -m loadtests`: load a running service and say what came of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import click
import requests as http

from harness import interrupts
from harness.mongod import MongodError
from harness.processes import ProgramError
from loadtests import bench as benchmark
from loadtests import ingest
from loadtests import migration as live
from loadtests.capacity import USERS, Slo
from loadtests.capacity import capacity as search_capacity
from loadtests.folders import new_folder
from loadtests.rows import ROWS
from loadtests.run import Load, RunError
from loadtests.run import run as run_locust
from loadtests.scenarios import SCENARIOS
from loadtests.service import HEALTH_PATH
from loadtests.wrk import WrkError

TITLES = {
    "requests_per_s": "successful requests/s",
    "refused_per_s": "refused requests/s (429)",
    "failed_per_s": "failed requests/s",
    "unsent_per_s": "never sent requests/s (all users waiting)",
    "p50_ms": "median latency from due time, ms",
    "p95_ms": "95th percentile, ms",
    "p99_ms": "99th percentile, ms",
    "p99_from_send_ms": "99th percentile from sending, ms",
    "server_us": "server CPU, µs per successful request",
    "mongod_us": "mongod CPU, µs per successful request",
    "server_cores": "server CPU, cores",
    "mongod_cores": "mongod CPU, cores",
    "locust_cores": "Locust CPU, cores",
    "machine_cores": "CPU of the whole machine, cores",
    "cores": "cores of the machine",
    "server_busiest": "busiest process of the server, cores",
    "locust_busiest": "busiest process of Locust, cores",
    "lag_ms": "event loop of the server late by, ms",
    "waiting": "requests inside the server",
    "generator_late": "Locust late by, share of the time",
}


URL = click.option(
    "--url", envvar="LAB_URL", default="http://127.0.0.1:8000", show_default=True, show_envvar=True, help="The service."
)
SCENARIO = click.argument("scenario", type=click.Choice(sorted(SCENARIOS)))
FOLDER = click.option(
    "--folder", type=click.Path(path_type=Path), help="A new folder for the results; in .lab/runs if left out."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
LOCUST = click.argument("locust", nargs=-1, type=click.UNPROCESSED)
POSITIVE = click.FloatRange(0, min_open=True)


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
      python -m loadtests run reads --fast --rate 4000 -- --processes 2
      python -m loadtests capacity reads --percentile 99 --within 100
    """


@command.command()
@SCENARIO
@LOCUST
@URL
@click.option("--users", default=Load.users, show_default=True, type=click.IntRange(1), help="How many at a time.")
@click.option("--seconds", default=10.0, show_default=True, type=POSITIVE, help="How long is measured.")
@click.option("--warmup", default=Load.warmup, show_default=True, type=click.FloatRange(0), help="Seconds before that.")
@click.option("--rate", type=POSITIVE, help="Requests per second; as fast as answered if left out.")
@click.option("--fast", is_flag=True, help="Users that cost Locust less, for high rates.")
@FOLDER
@JSON
def run(
    scenario: str,
    locust: tuple[str, ...],
    url: str,
    users: int,
    seconds: float,
    warmup: float,
    rate: float | None,
    fast: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Run SCENARIO, and print what was measured. The run folder keeps everything else.

    LOCUST, after --, are options for Locust itself: --processes 2, or --master --expect-workers 2 with
    workers on other machines, started there with
    locust --worker --master-host … --locustfile loadtests/locustfile.py Caller (or FastCaller).
    """
    load = Load(scenario, users, seconds, warmup, rate, fast, locust)
    folder = folder or new_folder(scenario)
    with _explained(url, folder) as service:
        summary = ingest.summary(run_locust(load, service, folder))
    if as_json:
        click.echo(json.dumps(_known(summary) | {"folder": str(folder)}))
        return
    for name, title in TITLES.items():
        click.echo(f"{title:42} {summary[name]:10,.{3 if name == 'generator_late' else 1}f}")
    click.echo(f"{'run folder':42} {folder}")
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
    "--seconds",
    default=benchmark.SECONDS,
    show_default=True,
    type=click.IntRange(1),
    help="How long each time. The row limit takes three times as long.",
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="A new folder for the results; in .lab/runs if left out."
)
def bench(names: tuple[str, ...], rounds: int, seconds: int, folder: Path | None) -> None:
    """Measure the service beside its peers: all rows, or only each ROW named, each on a MongoDB of its own.

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
    except (RunError, ingest.IngestError, ProgramError, MongodError) as error:
        raise click.ClickException(str(error)) from error


@command.command()
@SCENARIO
@LOCUST
@URL
@click.option("--percentile", default="95", show_default=True, type=click.Choice(["50", "95", "99"]))
@click.option(
    "--within", default=Slo.milliseconds, show_default=True, type=POSITIVE, help="Milliseconds from due time."
)
@click.option("--failures", default=Slo.failures, show_default=True, type=click.FloatRange(0, 1), help="Share allowed.")
@click.option("--seconds", default=4.0, show_default=True, type=POSITIVE, help="How long each run is measured.")
@click.option("--users", default=USERS, show_default=True, type=click.IntRange(1), help="How many at a time.")
@FOLDER
@JSON
def capacity(
    scenario: str,
    locust: tuple[str, ...],
    url: str,
    percentile: str,
    within: float,
    failures: float,
    seconds: float,
    users: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Search the highest rate of SCENARIO at which the service keeps its promise, and confirm it.

    LOCUST, after --, are options for Locust itself, such as --processes 2.
    """
    load = Load(scenario, users, seconds, fast=True, locust=locust)
    folder = folder or new_folder(f"capacity-{scenario}")
    with _explained(url, folder) as service:
        found = search_capacity(load, service, Slo(int(percentile), within, failures), folder=folder)
    if as_json:
        rates = {"low": found.low, "high": found.high if isfinite(found.high) else None, "limit": found.limit}
        click.echo(json.dumps({"scenario": scenario, "slo": str(found.slo)} | rates))
        return
    columns = ["rate", "requests_per_s", "p50_ms", "p95_ms", "p99_ms", "server_cores", "locust_cores", "held", "void"]
    click.echo(found.runs[columns].sort_values("rate").round(1).to_string(index=False))
    click.echo(str(found))


@contextmanager
def _explained(url: str, folder: Path) -> Iterator[str]:
    """Check that there is a service, whose address it gives, and no folder yet; explain what goes wrong in one line."""
    url = url.rstrip("/")
    if folder.exists():
        raise click.UsageError(f"{folder} exists: name a folder that does not")
    try:
        http.get(f"{url}{HEALTH_PATH}", timeout=5).raise_for_status()
        yield url
    except http.RequestException as error:
        raise click.ClickException(f"no message service answers at {url}: start one with make serve") from error
    except (RunError, ingest.IngestError) as error:
        raise click.ClickException(str(error)) from error


def _known(summary: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what is unknown is null."""
    return {name: None if isinstance(value, float) and isnan(value) else value for name, value in summary.items()}


if __name__ == "__main__":
    interrupts.handle()
    command(prog_name="python -m loadtests")
