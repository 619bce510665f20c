"""The options by which commands are told of a target, a scenario, and where results go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import requests

from harness.mongod import MongodError
from harness.options import Pair
from harness.processes import ProgramError
from harness.servers import direct_session
from loadtests.ingest import IngestError
from loadtests.run import RunError
from loadtests.scenarios import ScenarioError, find
from loadtests.service import HEALTH_PATH
from loadtests.targets import Elsewhere, Running, Target, parse

Function = TypeVar("Function", bound=Callable[..., Any])
DEFAULT_URL = "http://127.0.0.1:8000"
ANSWER_SECONDS = 5.0


class ScenarioName(click.ParamType[str]):
    """The name of a scenario of the lab's own, or FILE.py:NAME."""

    name = "scenario"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            find(str(value))
        except ScenarioError as error:
            self.fail(str(error), param, ctx)
        return str(value)


URL = click.option(
    "--url", envvar="LAB_URL", show_envvar=True, help=f"A server that runs; {DEFAULT_URL} if left out, without --start."
)
START = click.option("--start", default="", help="A command to start the server with; {port} stands for its port.")
READY = click.option("--ready", default="", help="The path that answers when the server is ready; / if left out.")
ENVIRONMENT = click.option(
    "--environment", type=Pair("NAME=VALUE", "="), multiple=True, help="A variable for the server; may be repeated."
)
SCENARIO = click.argument("scenario", type=ScenarioName())
FOLDER = click.option(
    "--folder", type=click.Path(path_type=Path), help="A new folder for the results; in .lab/runs if left out."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def target_options(function: Function) -> Function:
    """Decorate a command with --url, --start, --ready and --environment: the arguments of `target`."""
    for option in (ENVIRONMENT, READY, START, URL):
        function = option(function)
    return function


def target(url: str | None, start: str, ready: str, environment: tuple[tuple[str, str], ...]) -> Target:
    """The target that the options name."""
    if not start:
        return Elsewhere((url or DEFAULT_URL).rstrip("/"))
    try:
        return parse(start, environment=dict(environment), ready=ready or "/")
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def running(target: Target, folder: Path, scenario: str = "", ready: str = "") -> Iterator[Running]:
    """Run `target` while the block runs, and check that it answers; tell in one line what goes wrong.

    To scenarios of the lab's own only the lab's own service is an answer.
    """
    check_new(folder)
    with explained(), target.running() as server:
        is_ours = bool(scenario) and ":" not in scenario
        try:
            with direct_session() as session:
                path = ready or (HEALTH_PATH if is_ours else "/")
                answer = session.get(f"{server.url}{path}", timeout=ANSWER_SECONDS, allow_redirects=False, stream=True)
                answer.close()
                if is_ours:
                    answer.raise_for_status()
        except (requests.RequestException, ValueError) as error:
            what = "no message service" if is_ours else "nothing"
            hint = ": start one with make serve" if is_ours else ": start it, or name the command with --start"
            raise click.ClickException(f"{what} answers at {server.url}{hint}") from error
        yield server


def check_new(folder: Path) -> None:
    """Refuse a folder that exists."""
    if folder.exists():
        raise click.UsageError(f"{folder} exists: name a folder that does not")


@contextmanager
def explained() -> Iterator[None]:
    """Tell what goes wrong in one line."""
    try:
        yield
    except (RunError, IngestError, ProgramError, MongodError) as error:
        raise click.ClickException(str(error)) from error


def named_targets(
    base: str, other: str, start: str, ready: str, environment: tuple[tuple[str, str], ...]
) -> dict[str, Target]:
    """The targets that --a and --b name."""
    named = [_named(text, letter) for letter, text in (("A", base), ("B", other))]
    if named[0][0] == named[1][0]:
        raise click.UsageError(f"--a and --b have the same name: {named[0][0]}")
    try:
        return {name: parse(text, start, dict(environment), ready or "/") for name, text in named}
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _named(text: str, letter: str) -> tuple[str, str]:
    """The name and the rest of NAME=COMMAND; without a name the text is its own, or the letter of the option."""
    if text.startswith(("git:", "http://", "https://")):
        return text, text
    name, found, rest = text.partition("=")
    return (name.strip(), rest.strip()) if found and name.strip().replace("-", "_").isidentifier() else (letter, text)
