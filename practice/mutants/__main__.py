"""The command `python -m practice.mutants`: list the mutants, or write one to a folder."""

from pathlib import Path

import click

from practice.mutants import MUTANTS, by_name

EXAMPLES = """
\b
Examples:
  python -m practice.mutants
  python -m practice.mutants limit_off_by_one /tmp/mutant
  python -m practice check /tmp/mutant --stage 2
"""


@click.command(
    help=f"List the mutants; or write the mutant NAME to the new folder DIR, as a server like any other.\n{EXAMPLES}"
)
@click.argument("name", required=False, type=click.Choice([each.name for each in MUTANTS]), metavar="[NAME")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="DIR]")
def command(name: str | None, folder: Path | None) -> None:
    if name is None:
        for each in MUTANTS:
            click.echo(f"{each.stage}  {each.name:46}  {each.check:26}  {each.says}")
        return
    if folder is None:
        raise click.UsageError(f"give a folder to write {name} to")
    if folder.exists():
        raise click.ClickException(f"{folder} exists already: give a new one")
    by_name(name).write(folder)
    click.echo(folder)


if __name__ == "__main__":
    command(prog_name="python -m practice.mutants")
