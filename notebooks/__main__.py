"""The command `python -m notebooks`: run the notebooks and write a report, or open them in JupyterLab."""

import sys

from harness import interrupts

if __name__ == "__main__":
    interrupts.handle()  # before the imports, which take seconds
    # jsonschema, which nbformat imports, tries this one. It takes two seconds, for a format that no notebook has.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

import os
import time
from pathlib import Path

import click

from harness import machine
from harness.mongod import MongodError
from harness.processes import ProgramError
from notebooks import copies, effort, jupyter, lab, report


@click.group()
def command() -> None:
    """Run or open the notebooks of Backend Lab, with a MongoDB and a running service.

    \b
    Examples:
      python -m notebooks run
      python -m notebooks run 00 04
      python -m notebooks run --quick
      python -m notebooks run 04 --mine
      python -m notebooks jupyter
    """


@command.command()
@click.argument("names", nargs=-1)
@click.option("--report", "path", default="report/index.html", show_default=True, type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="A first look: the exercise itself, 00 to 06, and little of it.")
@click.option("--mine", is_flag=True, help="Run your copies in .lab/notebooks, as `jupyter` opens them.")
def run(names: tuple[str, ...], path: Path, quick: bool, mine: bool) -> None:
    """Run all notebooks, or those whose file names begin with one of NAMES, and write the report.

    Exits with 1 if a notebook fails.
    """
    if quick:
        os.environ[effort.VARIABLE] = "1"  # for the kernels
    paths = _chosen(lab.COPIES if mine else lab.NOTEBOOKS, names, effort.EXERCISE if quick else ("",))
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
    quickly = ", measured quickly: a first look" if effort.is_quick() else ""
    click.echo(f"{path}: {len(executed)} notebooks in {time.monotonic() - began:.0f} s{quickly}")
    if failed := [each for each in executed if each.failure]:
        for each in failed:
            click.echo(f"{each.name} failed: {each.failure}", err=True)
        sys.exit(1)


def _chosen(folder: Path, names: tuple[str, ...], unless_named: tuple[str, ...]) -> list[Path]:
    found = lab.notebooks(folder)
    if not found:
        raise click.UsageError(f"there are no notebooks in {folder}: `python -m notebooks jupyter` copies them there")
    for name in names:
        if not any(each.stem.startswith(name) for each in found):
            raise click.UsageError(f"there is no notebook whose name begins with {name}: see {folder}")
    return [each for each in found if each.stem.startswith(names or unless_named)]


@command.command("jupyter")
@click.option("--in-place", is_flag=True, help="Open the notebooks of the repository, for their authors.")
@click.argument("options", nargs=-1)
def open_in_jupyter(in_place: bool, options: tuple[str, ...]) -> None:
    """Open your copies of the notebooks in JupyterLab, with a running service, until Ctrl-C.

    They are in .lab/notebooks, so that what you do there changes no file of the repository. OPTIONS are JupyterLab's.

    \b
    Examples:
      python -m notebooks jupyter
      python -m notebooks jupyter --in-place
      python -m notebooks jupyter -- --no-browser --port 9999
    """
    folder = lab.NOTEBOOKS if in_place else lab.COPIES
    for kept in [] if in_place else copies.refresh(lab.notebooks(), lab.COPIES):
        click.echo(kept)

    def say_where(address: str) -> None:
        whose = "the notebooks of the repository" if in_place else "your copies of the notebooks"
        click.echo(f"JupyterLab: {address}\nwith {whose}, in {folder}. Ctrl-C ends it, and the service with it.")

    click.echo("starting MongoDB, the service and JupyterLab ...", err=True)
    try:
        with lab.stack(lab.LAB) as environment:
            jupyter.run(folder, lab.LAB / "jupyter.log", environment, options, say_where)
    except KeyboardInterrupt:
        click.echo("\nJupyterLab and the service have ended")
    except (MongodError, ProgramError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    command(prog_name="python -m notebooks")
