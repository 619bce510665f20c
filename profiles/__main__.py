"""The command `python -m profiles`: look into a running server."""

import json
from pathlib import Path

import click
import psutil

from harness import interrupts, watch
from loadtests import ingest
from loadtests.folders import new_folder
from loadtests.run import Load, RunError
from loadtests.scenarios import SCENARIOS
from profiles import evidence, scores, stacks
from profiles.diagnose import diagnose as name_the_limit
from profiles.record import ProfilerError
from profiles.record import record as record_process


@click.group()
def command() -> None:
    """See where a running server spends its time, and what limits it.

    \b
    Examples:
      python -m server --allow-profiling on
      python -m profiles record --seconds 10
      python -m profiles diagnose mixed
      python -m profiles score stall --times 1
    """


URL = click.option(
    "--url", envvar="LAB_URL", default="http://127.0.0.1:8000", show_default=True, show_envvar=True, help="The service."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@command.command()
@URL
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1), help="How long.")
@click.option("--raw", type=click.Path(path_type=Path), help="A file for the stacks; in .lab/runs if left out.")
@JSON
def record(url: str, seconds: int, raw: Path | None, as_json: bool) -> None:
    """Sample the server at --url, and print what Python did in it, as shares of its own time."""
    servers = watch.behind(url).roles["server"]
    if not servers:
        raise click.ClickException(
            f"no server of this machine and this user listens at {url}: start one with make serve"
        )
    raw = raw or new_folder("profile") / "profile.raw"
    try:
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.touch()
    except OSError as error:
        raise click.ClickException(f"the stacks cannot be written to {raw}: {error.strerror}") from error
    try:
        recording = record_process(_busiest(servers).pid, seconds, raw)
    except ProfilerError as error:
        raise click.ClickException(str(error)) from error
    samples = stacks.read(raw).groupby("category")["samples"].sum().sort_values(ascending=False)
    python_seconds = int(samples.sum()) / recording.rate
    if as_json:
        click.echo(json.dumps({"raw": str(raw), "python_seconds": python_seconds, "samples": samples.to_dict()}))
        return
    if len(servers) > 1:
        click.echo(f"of {len(servers)} processes of the service, the one that has worked most", err=True)
    click.echo(f"Python ran for {python_seconds:.2f} of {recording.seconds:.0f} s")
    for name, count in samples.items():
        click.echo(f"{name:24} {count / samples.sum():6.0%}")
    click.echo(f"stacks: {raw}")
    if recording.behind:
        click.echo("Do not trust this profile: py-spy fell behind in sampling. Take it again.", err=True)


def _busiest(processes: list[psutil.Process]) -> psutil.Process:
    """Of a service with workers, the process that has used the processor most: py-spy looks at one."""
    return max(processes, key=lambda process: sum(process.cpu_times()[:2]))


@command.command()
@click.argument("scenario", default="mixed", type=click.Choice(sorted(SCENARIOS)))
@URL
@click.option("--users", default=Load.users, show_default=True, type=click.IntRange(1), help="How many at a time.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Requests per second; as fast as answered if not."
)
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(1), help="How long is measured.")
@click.option(
    "--mongodb-uri",
    envvar="LAB_MONGODB_URI",
    show_envvar=True,
    help="Its MongoDB; where its connections lead if left out.",
)
@click.option("--folder", type=click.Path(path_type=Path), help="A new folder for the run; in .lab/runs if left out.")
@JSON
def diagnose(
    scenario: str,
    url: str,
    users: int,
    rate: float | None,
    seconds: float,
    mongodb_uri: str | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Load the service with SCENARIO, and say what limits it, with the evidence for each possible cause.

    The answer is one of server CPU, database, connection pool, load generator, rate limit, or unknown.
    """
    url = url.rstrip("/")
    load = Load(scenario, users, seconds, rate=rate, fast=True)
    if not watch.behind(url).roles["server"]:
        raise click.ClickException(
            f"no server of this machine and this user listens at {url}: start one with make serve"
        )
    try:
        seen = evidence.look(load, url, folder or new_folder("diagnose"), mongodb_uri)
    except (RunError, ingest.IngestError) as error:
        raise click.ClickException(str(error)) from error
    found = name_the_limit(seen)
    if as_json:
        click.echo(json.dumps(found.document()))
        return
    marks = {True: "yes", False: "no", None: "?"}
    for each in found.findings:
        click.echo(f"{marks[each.found]:4} {each.cause:16} {each.why}")
    click.echo(f"{found.cause}: {found.why}")


@command.command()
@click.argument("names", nargs=-1, type=click.Choice(list(scores.SCORES)))
@click.option("--times", type=click.IntRange(1), help="How often each is done; 20 or 10 if left out.")
def score(names: tuple[str, ...], times: int | None) -> None:
    """Test the measuring itself: known truths, and faults of known size, that it has to find.

    Of NAMES, or of all. Takes about three quarters of an hour in all. Exits with 0 only if every score is good enough.
    """
    good = True
    for name in names or scores.SCORES:
        table, passed, said = scores.SCORES[name](times)
        click.echo(table.to_string(index=False))
        click.echo(f"{name}: {said}: {'good' if passed else 'NOT GOOD ENOUGH'}\n")
        good &= passed
    if not good:
        raise SystemExit(1)


if __name__ == "__main__":
    interrupts.handle()
    command(prog_name="python -m profiles")
