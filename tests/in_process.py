"""Run a command inside the test's own process: for the many ways to be refused, where starting Python takes longest."""

import subprocess
from pathlib import Path

import click
from click.testing import CliRunner


def invoke(command: click.Command, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `command` with `arguments` to its end; the result is as that of `tests.commands.run`."""
    words = [str(each) for each in arguments]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
