"""The command `python -m client`: talk to a running message service."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from client.errors import ClientError
from client.messages import Message, MessageClient
from client.rendering import line

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
url_option = click.option(
    "--url", envvar="LAB_URL", default="http://127.0.0.1:8000", show_default=True, show_envvar=True, help="The service."
)


@click.group()
def command() -> None:
    """Talk to a running message service.

    \b
    Examples:
      python -m client hello
      python -m client send "lunch?" --author mia
      python -m client recent --limit 5
    """


@command.command()
@url_option
@json_option
def hello(url: str, as_json: bool) -> None:
    """Ask the service who it is."""
    with _client(url) as client:
        greeting = client.hello()
    click.echo(json.dumps(greeting) if as_json else greeting["greeting"])


@command.command()
@click.argument("text")
@click.option("--author", help="Who says it; anonymous if left out.")
@url_option
@json_option
def send(text: str, author: str | None, url: str, as_json: bool) -> None:
    """Store TEXT as a message; - reads it from standard input."""
    with _client(url) as client:
        message = client.send(sys.stdin.read() if text == "-" else text, author)
    click.echo(json.dumps(_document(message)) if as_json else line(message))


@command.command()
@click.option("--limit", type=int, help="How many; the service's default if left out.")
@url_option
@json_option
def recent(limit: int | None, url: str, as_json: bool) -> None:
    """Show the newest messages, newest first."""
    with _client(url) as client:
        messages = client.recent(limit)
    if as_json:
        click.echo(json.dumps([_document(message) for message in messages]))
        return
    for message in messages:
        click.echo(line(message))


@contextmanager
def _client(url: str) -> Iterator[MessageClient]:
    try:
        with MessageClient(url) as client:
            yield client
    except ClientError as error:
        raise click.ClickException(str(error)) from error


def _document(message: Message) -> dict[str, Any]:
    return asdict(message) | {"created_at": message.created_at.isoformat(timespec="milliseconds")}


if __name__ == "__main__":
    command(prog_name="python -m client")
