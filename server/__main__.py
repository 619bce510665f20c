"""The command `python -m server`: the message service, on its own MongoDB unless told of another."""

import errno
import socket
import sys
from typing import Any

import click
from tornado.netutil import bind_sockets

from harness import processes
from harness.addresses import shown
from harness.mongod import MongodError
from harness.options import MongodbOptions, mongodb_options, variables
from harness.processes import ProgramError
from server.messages import StoreRefused, StoreUnavailable
from server.settings import DatabaseAddress, Settings, options
from server.workers import serve

EXAMPLES = """
\b
Examples:
  python -m server
  python -m server --port 0 --cache off --write-limit 500/second
  python -m server --mongodb-uri 'mongodb://db1,db2,db3/?replicaSet=rs0'
"""


@click.command(help=f"Run the message service until Ctrl-C.\n{EXAMPLES}")
@mongodb_options
@options()
def command(mongodb_uri: str | None, database: str, data_dir: str, mongod: str | None, **flags: Any) -> None:
    settings = Settings(**flags)
    mongodb = MongodbOptions(mongodb_uri, database, data_dir, mongod)
    sockets = _bind(settings)
    try:
        with mongodb.running() as uri:
            if mongodb_uri is None:
                _migrate(uri, database)
            serve(settings, DatabaseAddress(uri, database), sockets, lambda: _say_where(sockets))
    except MongodError as error:
        raise click.ClickException(str(error)) from error
    except StoreRefused as error:
        where = shown(mongodb_uri or "the embedded address")
        raise click.ClickException(f"the MongoDB at {where} refuses: {error}") from error
    except StoreUnavailable as error:
        raise click.ClickException(
            f"no MongoDB answers at {shown(mongodb_uri or 'the embedded address')} ({error}): "
            "start it, or correct --mongodb-uri; without it the service runs its own"
        ) from error


def _bind(settings: Settings) -> list[socket.socket]:
    try:
        return bind_sockets(settings.port, settings.address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = (
                f"port {settings.port} is in use: choose another with --port or LAB_PORT "
                f"(LAB_PORT={min(settings.port + 1, 65535)} make serve), or --port 0 for a free one"
            )
        else:
            why = f"cannot listen on {settings.address} port {settings.port}: {error.strerror}"
        raise click.ClickException(why) from error


def _say_where(sockets: list[socket.socket]) -> None:
    address, port = sockets[0].getsockname()[:2]
    print(f"listening on http://{f'[{address}]' if ':' in address else address}:{port}", flush=True)


def _migrate(uri: str, database: str) -> None:
    """Bring the embedded database up to date; if that fails, go on: the service reads every version of the data."""
    try:
        processes.run([sys.executable, "-m", "migrations", "up"], environment=variables(uri, database))
    except ProgramError as error:
        click.echo(f"the database could not be brought up to date: {error}; serving it as it is", err=True)


if __name__ == "__main__":
    command(prog_name="python -m server")
