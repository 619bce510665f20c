"""The command `python -m notebooks`: run the notebooks and write a report, or open them in JupyterLab."""

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from harness import interrupts, machine
from harness.mongod import MongodError
from harness.processes import ProgramError
from notebooks import lab, report


@click.group()
def command() -> None:
    """Run or open the notebooks of Backend Lab, with a MongoDB and a running service.

    \b
    Examples:
      python -m notebooks run
      python -m notebooks run 00 04
      python -m notebooks jupyter
    """


@command.command()
@click.argument("names", nargs=-1)
@click.option("--report", "path", default="report/index.html", show_default=True, type=click.Path(path_type=Path))
def run(names: tuple[str, ...], path: Path) -> None:
    """Run all notebooks, or those whose file names begin with one of NAMES, and write the report.

    Exits with 1 if a notebook fails.
    """
    paths = [each for each in lab.notebooks() if not names or each.stem.startswith(names)]
    for name in names:
        if not any(each.stem.startswith(name) for each in paths):
            raise click.UsageError(f"there is no notebook whose name begins with {name}: see notebooks/")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise click.ClickException(f"the report cannot be written to {path}: {error.strerror}") from error
    began = time.monotonic()
    try:
        executed = lab.run(paths)
    except (MongodError, ProgramError) as error:
        raise click.ClickException(str(error)) from error
    report.write(executed, machine.describe(), machine.commit(), path)
    for each in executed:
        for headline in each.headlines():
            click.echo(f"{headline['question']} {headline['answer']}")
    click.echo(f"{path}: {len(executed)} notebooks in {time.monotonic() - began:.0f} s")
    if failed := [each for each in executed if each.failure]:
        for each in failed:
            click.echo(f"{each.name} failed: {each.failure}", err=True)
        sys.exit(1)


@command.command()
def jupyter() -> None:
    """Open the notebooks in JupyterLab, with a running service that stops when JupyterLab ends."""
    try:
        with lab.stack(lab.LAB) as environment:
            program = [sys.executable, "-m", "jupyterlab", "--notebook-dir", str(lab.NOTEBOOKS)]
            sys.exit(subprocess.run(program, check=False, env=os.environ | environment).returncode)
    except (MongodError, ProgramError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    interrupts.handle()
    command(prog_name="python -m notebooks")
