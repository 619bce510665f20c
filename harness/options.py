"""The click options that choose the MongoDB of a command, and their LAB_ environment variables."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from harness import mongod
from harness.addresses import shown

Command = TypeVar("Command", bound=Callable[..., Any])

DATABASE = "backend_lab"
DATA_DIR = ".lab"


class MongodbUri(click.ParamType[str]):
    """A MongoDB connection string; only its scheme is checked here."""

    name = "uri"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).startswith(("mongodb://", "mongodb+srv://")):
            self.fail(
                f"{shown(str(value))!r} is not a MongoDB address: it starts with mongodb:// or mongodb+srv://",
                param,
                ctx,
            )
        return str(value)


class Pair(click.ParamType[tuple[str, str]]):
    """A name and a value, separated by `separator`."""

    def __init__(self, name: str, separator: str) -> None:
        self.name, self._separator = name, separator

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, found, rest = str(value).partition(self._separator)
        if not found or not name.strip():
            self.fail(f"{value!r} is not {self.name}", param, ctx)
        return name.strip(), rest.strip()


class DatabaseName(click.ParamType[str]):
    """A valid name of a MongoDB database."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text or len(text.encode()) > 63 or set(text) & set('/\\. "$*<>:|?\0'):
            self.fail(f"{text!r} is not a database name: 1 to 63 letters, digits, - or _", param, ctx)
        return text


@dataclass(frozen=True)
class MongodbOptions:
    """The MongoDB and database of a command; without a `mongodb_uri`, the embedded MongoDB of `data_dir`."""

    mongodb_uri: str | None = field(default=None, repr=False)
    database: str = DATABASE
    data_dir: str = DATA_DIR
    mongod: str | None = None

    @contextmanager
    def running(self) -> Iterator[str]:
        """Give the connection string; an embedded MongoDB runs during the block. Raises `MongodError`."""
        with mongod.given_or_running(self.mongodb_uri, self.data_dir, self.mongod) as uri:
            yield uri


def variables(mongodb_uri: str, database: str) -> dict[str, str]:
    """The environment variables that name a database to a command: other users can read a command line, and there is
    a password in the address.
    """
    return {"LAB_MONGODB_URI": mongodb_uri, "LAB_DATABASE": database}


HEADER = click.option(
    "--header", "headers", type=Pair("'NAME: VALUE'", ":"), multiple=True,
    help="A header for every request, such as 'Authorization: Bearer KEY'; may be repeated.",
)  # fmt: skip
OPTIONS = (
    click.option(
        "--mongodb-uri", envvar="LAB_MONGODB_URI", show_envvar=True, type=MongodbUri(),
        help="MongoDB to use instead of an embedded one.",
    ),
    click.option(
        "--database", envvar="LAB_DATABASE", show_envvar=True, type=DatabaseName(), default=DATABASE, show_default=True,
        help="Name of the database.",
    ),
    click.option(
        "--data-dir", envvar="LAB_DATA_DIR", show_envvar=True, type=click.Path(file_okay=False), default=DATA_DIR,
        show_default=True, help="Directory of the embedded MongoDB's files.",
    ),
    click.option(
        "--mongod", envvar="LAB_MONGOD", show_envvar=True, type=click.Path(),
        help="The mongod program to run as the embedded MongoDB.",
    ),
)  # fmt: skip


def mongodb_options(command: Command) -> Command:
    """Add the four options to a click command, which gets them as the arguments of `MongodbOptions`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def from_environment() -> MongodbOptions:
    """The options according to the LAB_ variables and the defaults. Raises `click.UsageError` for invalid values."""

    @click.command
    @mongodb_options
    def command(**_: Any) -> None: ...

    return MongodbOptions(**command.make_context("environment", []).params)
