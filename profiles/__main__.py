"""The command `python -m profiles`: look into a running server."""

from harness import interrupts

if __name__ == "__main__":
    interrupts.handle()  # before the imports, which take seconds

import json
from collections.abc import Mapping
from pathlib import Path

import click
import psutil

from harness import watch
from harness.options import HEADER
from loadtests.experiment import RATE
from loadtests.folders import new_folder
from loadtests.options import (
    ENVIRONMENT,
    FOLDER,
    JSON,
    READY,
    SCENARIO,
    START,
    ScenarioName,
    explained,
    named_targets,
    running,
    target,
    target_options,
)
from loadtests.run import Load
from profiles import kernel, scores, stacks
from profiles.diagnosis.diagnose import diagnose as find_the_limit
from profiles.diagnosis.faults import DATABASE as FAULTY_DATABASE
from profiles.diagnosis.faults import FAULTS, situation
from profiles.diagnosis.score import score as diagnosis_score
from profiles.experiment import Profiles
from profiles.experiment import profile as profile_targets
from profiles.record import ProfilerError
from profiles.record import record as record_process

TOP = 10


@click.group()
def command() -> None:
    """See where a running server spends its time, and what limits it.

    Python servers are sampled with py-spy, function by function. Of others (Node, Go, C) the kernel tells how much
    processor time they used, in their own code and in system calls, and how often they waited.

    \b
    Examples:
      python -m server --allow-profiling on
      python -m profiles record --seconds 10
      python -m profiles diagnose mixed
      python -m profiles diagnose shop.py:browse --start "gunicorn shop:app -b 127.0.0.1:{port}"
      python -m profiles compare shop.py:browse --a "old=python old.py {port}" --b "new=python new.py {port}"
      python -m profiles score stall --times 1
    """


@command.command()
@click.option(
    "--url", envvar="LAB_URL", default="http://127.0.0.1:8000", show_default=True, show_envvar=True, help="The server."
)
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1), help="How long.")
@click.option("--raw", type=click.Path(path_type=Path), help="A file for the stacks; in .lab/runs if left out.")
@JSON
def record(url: str, seconds: int, raw: Path | None, as_json: bool) -> None:
    """Sample the server at --url, and print what Python did in it, as shares of its own time."""
    servers = _servers(url)
    busiest = max(servers, key=watch.cpu_seconds)
    if not kernel.is_python(busiest):
        _kernel_view(servers, busiest, seconds, as_json)
        return
    raw = raw or new_folder("profile") / "profile.raw"
    try:
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.touch()
    except OSError as error:
        raise click.ClickException(f"the stacks cannot be written to {raw}: {error.strerror}") from error
    try:
        recording = record_process(busiest.pid, seconds, raw)
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


def _servers(url: str) -> list[psutil.Process]:
    servers = watch.behind(url).roles["server"]
    if not servers:
        raise click.ClickException(
            f"no server of this machine and this user listens at {url}: start one with make serve"
        )
    return servers


def _kernel_view(servers: list[psutil.Process], busiest: psutil.Process, seconds: float, as_json: bool) -> None:
    """Say what py-spy cannot do, and show what the kernel tells instead."""
    seen = kernel.view(servers, seconds)
    if as_json:
        click.echo(json.dumps({"python": False, "program": busiest.name()} | vars(seen)))
        return
    click.echo(
        f"{busiest.name()} (process {busiest.pid}) does not run Python, so py-spy cannot tell its functions: "
        "use a profiler of its own language. What the kernel tells:",
        err=True,
    )
    for line in seen.lines():
        click.echo(line)


@command.command()
@SCENARIO
@click.option("--a", "base", required=True, help="NAME=COMMAND or git:REVISION.")
@click.option("--b", "other", required=True, help="What is compared with --a, in the same words.")
@START
@READY
@ENVIRONMENT
@HEADER
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(2), help="Recordings of each.")
@click.option(
    "--seconds", default=Load.seconds, show_default=True, type=click.FloatRange(1), help="How long each lasts."
)
@click.option("--rate", default=RATE, show_default=True, type=click.FloatRange(0, min_open=True), help="Requests/s.")
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
    rounds: int,
    seconds: float,
    rate: float,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Profile two Python servers under SCENARIO, and print which functions take more or less time for a request."""
    variants = named_targets(base, other, start, ready, environment)
    load = Load(scenario, seconds=seconds, rate=rate, headers=dict(headers))
    try:
        with explained():
            found = profile_targets(variants, load, rounds, folder=folder)
    except ProfilerError as error:
        raise click.ClickException(str(error)) from error
    changes = found.changes()
    if as_json:
        click.echo(json.dumps(_document(found)))
        return
    click.echo("microseconds for each request, by category")
    click.echo(found.table().round(1).to_string())
    click.echo("\nby function, the largest changes")
    click.echo(changes.head(TOP).round(1).to_string())
    click.echo(f"\n{found.largest_change()}")


def _document(found: Profiles) -> Mapping[str, object]:
    changes = found.changes().head(TOP).reset_index().to_dict("records")
    return {"categories": found.table().to_dict(), "changes": changes, "void": list(found.void)}


@command.command()
@click.argument("scenario", default="mixed", type=ScenarioName())
@target_options
@HEADER
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
@click.option("--database", help="The service's database in that MongoDB; all of them if left out.")
@click.option(
    "--fault",
    type=click.Choice(list(FAULTS)),
    help="Diagnose the lab's own service with this fault, under a load of its own.",
)
@click.option(
    "--test/--no-test", default=True, show_default=True, help="Change one thing, and see if the verdict stands."
)
@click.option("--score", "takes_score", is_flag=True, help="Diagnose every fault, and print how often that was right.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="With --score: how often each.")
@FOLDER
@JSON
def diagnose(
    scenario: str,
    url: str | None,
    start: str,
    ready: str,
    environment: tuple[tuple[str, str], ...],
    headers: tuple[tuple[str, str], ...],
    users: int,
    rate: float | None,
    seconds: float,
    mongodb_uri: str | None,
    database: str | None,
    fault: str | None,
    test: bool,
    takes_score: bool,
    runs: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Load the server with SCENARIO, and say what limits it: the evidence, where the time goes, and a test of that.

    The verdict is one of server CPU, event loop blocked, lock or slots in the server, database CPU, database disk,
    database queries, connection pool, network, load generator, machine full, rate limit, healthy at this load, or
    unknown. Of a server without the lab's metrics only what can be seen from outside is known.
    """
    if takes_score:
        scored = diagnosis_score(runs, [fault] if fault else [], test=test)
        click.echo(scored.matrix.to_string())
        click.echo("\n".join(scored.lines()))
        if not scored.good:
            raise SystemExit(1)
        return
    folder = folder or new_folder("diagnose")
    if fault:
        with explained(), situation(fault) as found, found.running() as server:
            said = find_the_limit(found.load, server, folder, found, database=FAULTY_DATABASE, test=test)
    else:
        load = Load(scenario, users, seconds, rate=rate, fast=True, headers=dict(headers))
        tested = target(url, start, ready, environment)
        if not start:
            _servers(tested.settings["url"])
        with running(tested, folder, scenario, ready) as server:
            said = find_the_limit(load, server, folder, None, mongodb_uri, database, test=test)
    click.echo(json.dumps(said.document()) if as_json else "\n".join(said.lines()))


@command.command()
@click.argument("names", nargs=-1, type=click.Choice(list(scores.SCORES)))
@click.option("--times", type=click.IntRange(1), help="How often each is done, instead of as often as it needs.")
@click.option("--short", is_flag=True, help="Once each, with larger faults: shows that the measuring works at all.")
def score(names: tuple[str, ...], times: int | None, short: bool) -> None:
    """Test the measuring itself: known truths, and faults of known size, that it has to find.

    Of NAMES, or of all, which takes 20 to 25 minutes. Exits with 0 only if every score is good enough.
    """
    good = True
    for name in names or scores.SCORES:
        table, passed, said = scores.take(name, times, scores.SHORT if short else scores.FULL)
        click.echo(table.to_string(index=False))
        click.echo(f"{name}: {said}: {'good' if passed else 'NOT GOOD ENOUGH'}\n")
        good &= passed
    if not good:
        raise SystemExit(1)


if __name__ == "__main__":
    command(prog_name="python -m profiles")
