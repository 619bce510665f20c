"""The command `python -m loadtests`: load a server, and say what was measured."""

from harness import interrupts

if __name__ == "__main__":
    interrupts.handle()  # before the imports, which take seconds

import json
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import click

from harness.mongod import MongodError
from harness.options import HEADER
from loadtests import bench as benchmark
from loadtests import conditions, ingest
from loadtests import migration as live
from loadtests.capacity import USERS, Slo
from loadtests.capacity import capacity as search_capacity
from loadtests.comparison import ASKED, METRICS, Comparison
from loadtests.experiment import RATE
from loadtests.experiment import compare as compare_targets
from loadtests.folders import new_folder
from loadtests.ingest import Run
from loadtests.intervals import ENOUGH_PAIRS, false_alarms
from loadtests.options import (
    ENVIRONMENT,
    FOLDER,
    JSON,
    READY,
    SCENARIO,
    START,
    check_new,
    explained,
    named_targets,
    running,
    target,
    target_options,
)
from loadtests.rows import ROWS
from loadtests.run import Load
from loadtests.run import run as run_locust
from loadtests.summary import summarize
from loadtests.wrk import WrkError

TITLES = {
    "requests_per_s": "successful requests/s",
    "refused_per_s": "refused requests/s (429)",
    "failed_per_s": "failed requests/s",
    "unanswered_per_s": "requests/s that got no answer",
    "unsent_per_s": "never sent requests/s (all users waiting)",
    "p50_ms": "median latency from due time, ms",
    "p95_ms": "95th percentile, ms",
    "p99_ms": "99th percentile, ms",
    "p99_from_send_ms": "99th percentile from sending, ms",
    "server_us": "server CPU, µs per successful request",
    "mongod_us": "mongod CPU, µs per successful request",
    "server_cores": "server CPU, cores",
    "mongod_cores": "mongod CPU, cores",
    "database_cores": "CPU of other databases, cores",
    "locust_cores": "Locust CPU, cores",
    "machine_cores": "CPU of the whole machine, cores",
    "cores": "cores of the machine",
    "server_busiest": "busiest process of the server, cores",
    "locust_busiest": "busiest process of Locust, cores",
    "lag_ms": "event loop of the server late by, ms",
    "waiting": "requests inside the server",
    "generator_late": "Locust late by, share of the time",
}

LOCUST = click.argument("locust", nargs=-1, type=click.UNPROCESSED)
POSITIVE = click.FloatRange(0, min_open=True)
FAIL_IF = click.option(
    "--fail-if", "fail_if", multiple=True,
    help="Exit with 1 if this is so, such as 'p95_ms > 50'; with 3 if it cannot be told. May be repeated.",
)  # fmt: skip
MARKDOWN = click.option("--markdown", type=click.Path(path_type=Path), help="A file to append a summary to.")
FAST = click.option("--fast", is_flag=True, help="Users on raw sockets, that cost Locust little: for high rates.")


@click.group()
def command() -> None:
    """Load a server with Locust and measure it, or the message service beside its peers with wrk.

    SCENARIO is one of the lab's own (reads, writes, patient, mixed, conversation), or FILE.py:NAME.

    \b
    Examples:
      python -m loadtests run reads
      python -m loadtests run mixed --rate 300 --seconds 30 --json
      python -m loadtests run shop.py:browse --url http://127.0.0.1:5000 --fail-if 'p95_ms > 50'
      python -m loadtests run shop.py:browse --start "gunicorn shop:app -b 127.0.0.1:{port}"
      python -m loadtests compare shop.py:browse --a "flask=python app.py {port}" --b "node=node app.js {port}"
      python -m loadtests compare shop.py:browse --a git:main --b git:HEAD --start "python app.py {port}"
      python -m loadtests capacity reads --percentile 99 --within 100
      python -m loadtests run reads --fast --rate 4000 -- --processes 2
      python -m loadtests bench tornado limit --rounds 2 --seconds 1
      python -m loadtests read results/ours
    """


@command.command()
@SCENARIO
@LOCUST
@target_options
@HEADER
@click.option("--users", default=Load.users, show_default=True, type=click.IntRange(1), help="How many at a time.")
@click.option("--seconds", default=10.0, show_default=True, type=POSITIVE, help="How long is measured.")
@click.option("--warmup", default=Load.warmup, show_default=True, type=click.FloatRange(0), help="Seconds before that.")
@click.option("--rate", type=POSITIVE, help="Requests per second; as fast as answered if left out.")
@FAST
@FAIL_IF
@MARKDOWN
@FOLDER
@JSON
def run(
    scenario: str,
    locust: tuple[str, ...],
    url: str | None,
    start: str,
    ready: str,
    environment: tuple[tuple[str, str], ...],
    headers: tuple[tuple[str, str], ...],
    users: int,
    seconds: float,
    warmup: float,
    rate: float | None,
    fast: bool,
    fail_if: tuple[str, ...],
    markdown: Path | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Run SCENARIO, and print what was measured. The run folder keeps everything else.

    Exits with 0, or as --fail-if says: 1 if a condition is met, 3 if it cannot be told because the run is void or too
    short. LOCUST, after --, are options for Locust itself: --processes 2, or --master --expect-workers 2 with
    workers on other machines, started there with
    locust --worker --master-host … --locustfile loadtests/locustfile.py Caller (or FastCaller).
    """
    asked = _conditions(fail_if, conditions.RUN_NAMES)
    load = Load(scenario, users, seconds, warmup, rate, fast, locust=locust, headers=dict(headers))
    folder = folder or new_folder(load.title)
    tested = target(url, start, ready, environment)
    with running(tested, folder, scenario, ready) as server:
        found = Run(run_locust(load, server.url, folder, tested.settings, pid=server.pid))
        summary = summarize(found)
        judged = conditions.judge_run(found, summary, asked)
    if as_json:
        click.echo(json.dumps(_known(summary) | {"folder": str(folder)} | _judged(judged)))
    else:
        for name, title in TITLES.items():
            click.echo(f"{title:42} {summary[name]:10,.{3 if name == 'generator_late' else 1}f}")
        click.echo(f"{'run folder':42} {folder}")
        if summary["void"]:
            click.echo(f"Do not quote this as the service's rate or latency: {summary['void']}.", err=True)
    lines = [f"| {title} | {summary[name]:,.1f} |" for name, title in TITLES.items()]
    _end(judged, markdown, [f"## {load.title}", "", "| | |", "| --- | ---: |", *lines, "", summary["void"]])


@command.command()
@SCENARIO
@click.option("--a", "base", required=True, type=str, help="NAME=COMMAND, NAME=URL or git:REVISION.")
@click.option("--b", "other", required=True, type=str, help="What is compared with --a, in the same words.")
@START
@READY
@ENVIRONMENT
@HEADER
@click.option(
    "--asked", default=ASKED, show_default=True, type=click.Choice(list(METRICS)), help="What is asked about."
)
@click.option("--rounds", default=ENOUGH_PAIRS, show_default=True, type=click.IntRange(2), help="Pairs of runs.")
@click.option("--users", default=Load.users, show_default=True, type=click.IntRange(1), help="How many at a time.")
@click.option("--seconds", default=Load.seconds, show_default=True, type=POSITIVE, help="How long each run measures.")
@click.option("--rate", default=RATE, show_default=True, type=POSITIVE, help="Requests per second.")
@FAST
@FAIL_IF
@MARKDOWN
@FOLDER
@JSON
def compare(
    scenario: str,
    base: str,
    other: str,
    start: str,
    ready: str,
    environment: tuple[tuple[str, str], ...],
    headers: tuple[tuple[str, str], ...],
    asked: str,
    rounds: int,
    users: int,
    seconds: float,
    rate: float,
    fast: bool,
    fail_if: tuple[str, ...],
    markdown: Path | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Compare two servers under SCENARIO, in interleaved rounds, each on newly started servers.

    --fail-if is about the ratio of --b to --a: 'server_us > 1.10' is met if --b certainly costs more than a tenth more.
    """
    wanted = _conditions(fail_if, conditions.COMPARISON_NAMES)
    load = Load(scenario, users, seconds, rate=rate, fast=fast, headers=dict(headers))
    folder = folder or new_folder(f"compare-{load.title}")
    check_new(folder)
    variants = named_targets(base, other, start, ready, environment)
    with explained():
        comparison = compare_targets(variants, load, rounds, folder=folder, asked=asked)
    judged = conditions.judge_comparison(comparison, wanted)
    if as_json:
        click.echo(json.dumps(comparison.document() | {"folder": str(folder)} | _judged(judged)))
    else:
        for metric in METRICS:
            click.echo(comparison.verdict(metric))
        click.echo(f"run folders {folder}")
    _end(judged, markdown, _comparison_lines(comparison))


@command.command()
@click.argument("prefix", type=click.Path(path_type=Path))
@click.option("--chart", type=click.Path(path_type=Path), help="A file for the chart: .svg or .png.")
def read(prefix: Path, chart: Path | None) -> None:
    """Read the CSVs that any Locust has written with --csv PREFIX, print its table, and draw its history."""
    with explained():
        stats = ingest.locust_stats(Path(f"{prefix}_stats.csv"))
        history = ingest.locust_history(Path(f"{prefix}_stats_history.csv"))
    click.echo(stats.to_string(index=False))
    if chart is not None:
        from loadtests import charts  # matplotlib takes long to import: only who wants a chart waits for it

        charts.history(history).savefig(chart)
        click.echo(f"chart {chart}")


@command.command()
@click.option("--comparisons", default=2000, show_default=True, type=click.IntRange(100), help="Of each size.")
def intervals(comparisons: int) -> None:
    """Simulate comparisons of 2 to 12 pairs: how often are equals called different, and visible changes found?"""
    table = false_alarms(comparisons=comparisons)
    shares = table[["false_alarms", "found_visible"]].map(lambda share: "–" if isnan(share) else f"{share:.1%}")
    click.echo(table.assign(**shares).to_string(index=False))


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
    with explained():
        click.echo(live.speed(min(messages, 100_000), rounds))
        click.echo(str(live.measure(messages, rounds, Load("mixed", 16, seconds, 2.0, rate), new_folder("migration"))))


@command.command()
@SCENARIO
@LOCUST
@target_options
@HEADER
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
    url: str | None,
    start: str,
    ready: str,
    environment: tuple[tuple[str, str], ...],
    headers: tuple[tuple[str, str], ...],
    percentile: str,
    within: float,
    failures: float,
    seconds: float,
    users: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Search the highest rate of SCENARIO at which the service keeps its promise, and confirm it.

    Where one process of Locust is the limit, twice as many go on, up to one for each core. LOCUST, after --, are
    options for Locust itself: with any, the number of its processes is left to them.
    """
    load = Load(scenario, users, seconds, fast=True, locust=locust, headers=dict(headers))
    folder = folder or new_folder(f"capacity-{load.title}")
    tested = target(url, start, ready, environment)
    with running(tested, folder, scenario, ready) as server:
        slo = Slo(int(percentile), within, failures)
        found = search_capacity(load, server.url, slo, folder=folder, settings=tested.settings, pid=server.pid)
    if as_json:
        rates = {"low": found.low, "high": found.high if isfinite(found.high) else None, "limit": found.limit}
        click.echo(json.dumps({"scenario": scenario, "slo": str(found.slo)} | rates))
        return
    columns = ["rate", "requests_per_s", "p50_ms", "p95_ms", "p99_ms", "server_cores", "locust_cores", "held", "void"]
    click.echo(found.runs[columns].sort_values("rate").round(1).to_string(index=False))
    click.echo(str(found))


def _conditions(texts: tuple[str, ...], names: tuple[str, ...]) -> list[conditions.Condition]:
    try:
        return [conditions.parse(text, names) for text in texts]
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _judged(judged: list[conditions.Judgement]) -> dict[str, Any]:
    return {"conditions": [{"condition": e.condition.text, "verdict": e.verdict, "why": e.why} for e in judged]}


def _comparison_lines(comparison: Comparison) -> list[str]:
    table = comparison.table()
    heading = ["metric", *table.columns]
    rows = [f"| {' | '.join(map(str, row))} |" for row in table.reset_index().itertuples(index=False)]
    return [f"## {comparison.load.title}", "", f"| {' | '.join(heading)} |", "| --- " * len(heading) + "|", *rows, ""]


def _end(judged: list[conditions.Judgement], markdown: Path | None, lines: list[str]) -> None:
    """Write the summary, tell the conditions, and exit as they say."""
    if markdown is not None:
        with markdown.open("a") as file:
            file.write("\n".join([*lines, *(f"- {each}" for each in judged)]).rstrip() + "\n")
    for each in judged:
        click.echo(str(each), err=True)
    if status := conditions.exit_status(judged):
        raise SystemExit(status)


def _known(summary: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what is unknown is null."""
    return {name: None if isinstance(value, float) and isnan(value) else value for name, value in summary.items()}


if __name__ == "__main__":
    command(prog_name="python -m loadtests")
