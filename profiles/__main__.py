"""The command `python -m profiles`: look into a running server."""

import json
from pathlib import Path

import click

from loadtests import machine
from loadtests.experiment import new_folder
from profiles import stacks
from profiles.record import ProfilerError
from profiles.record import record as record_process


@click.group()
def command() -> None:
    """See where a running server spends its time.

    \b
    Examples:
      python -m server --allow-profiling on
      python -m profiles record --seconds 10
    """


@command.command()
@click.option(
    "--url", envvar="LAB_URL", default="http://127.0.0.1:8000", show_default=True, show_envvar=True, help="The service."
)
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1), help="How long.")
@click.option("--raw", type=click.Path(path_type=Path), help="A file for the stacks; in .lab/runs if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def record(url: str, seconds: int, raw: Path | None, as_json: bool) -> None:
    """Sample the server at --url, and print what Python did in it, as shares of its own time."""
    servers = machine.behind(url).roles["server"]
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
        recording = record_process(servers[0].pid, seconds, raw)
    except ProfilerError as error:
        raise click.ClickException(str(error)) from error
    samples = stacks.read(raw).groupby("category")["samples"].sum().sort_values(ascending=False)
    python_seconds = int(samples.sum()) / recording.rate
    if as_json:
        click.echo(json.dumps({"raw": str(raw), "python_seconds": python_seconds, "samples": samples.to_dict()}))
        return
    click.echo(f"Python ran for {python_seconds:.2f} of {recording.seconds:.0f} s")
    for name, count in samples.items():
        click.echo(f"{name:24} {count / samples.sum():6.0%}")
    click.echo(f"stacks: {raw}")
    if recording.behind:
        click.echo("Do not trust this profile: py-spy fell behind in sampling. Take it again.", err=True)


if __name__ == "__main__":
    command(prog_name="python -m profiles")
