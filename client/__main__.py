"""The command `python -m client`: send and read messages of a running service."""

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

import click

from client import rendering, times
from client.errors import ClientError, NotFound
from client.messages import Message, MessageClient
from client.transport import PATIENCE

Command = TypeVar("Command", bound=Callable[..., Any])
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
author_option = click.option("--author", help="Author of the message; anonymous by default.")
limit_option = click.option("--limit", type=click.IntRange(1), help="Maximum number of messages.")
patience_option = click.option(
    "--patience",
    envvar="LAB_PATIENCE",
    default=PATIENCE,
    show_default=True,
    show_envvar=True,
    type=click.FloatRange(0),
    help="Seconds for which a service that is away is waited for.",
)
key_option = click.option(
    "--key", help="Idempotency key: sent again with the same key, a message is stored once. A new one by default."
)


def service_options(command: Command) -> Command:
    """Add the options --url, --api-key and --patience to a click command."""
    return address_options(patience_option(command))


def address_options(command: Command) -> Command:
    """Add the options --url and --api-key to a click command."""
    key = click.option(
        "--api-key", envvar="LAB_API_KEY", show_envvar=True, help="Access key, if the service requires one."
    )
    url = click.option(
        "--url",
        envvar="LAB_URL",
        default="http://127.0.0.1:8000",
        show_default=True,
        show_envvar=True,
        help="Base URL of the service.",
    )
    return url(key(command))


class Time(click.ParamType[datetime]):
    """A time in one of the formats that `client.times.parse` accepts."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return times.parse(str(value))
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


class Secret(click.ParamType[str]):
    """A signing secret, which must not be blank."""

    name = "secret"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip():
            self.fail("is empty: give the secret that the service was started with", param, ctx)
        return str(value)


@click.group()
def command() -> None:
    """Send and read messages of a running service.

    \b
    Examples:
      python -m client hello
      python -m client send "lunch?" --author mia
      python -m client recent --limit 5
      python -m client since 10am
      python -m client follow --json
      python -m client sms --from +15005550006 "on my way"
      python -m client slack "/msg list 5"
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows its number.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@command.command()
@service_options
@json_option
def hello(as_json: bool, **service: Any) -> None:
    """Print the service's greeting; with --json also its name, version and links."""
    with _client(**service) as client:
        greeting = client.hello()
    click.echo(json.dumps(greeting) if as_json else greeting["greeting"])


@command.command()
@click.argument("text")
@author_option
@key_option
@service_options
@json_option
def send(text: str, author: str | None, key: str | None, as_json: bool, **service: Any) -> None:
    """Store TEXT as a message; - reads the text from standard input."""
    with _client(**service) as client:
        message = client.send(_text(text), author, key=key)
    click.echo(_json(message) if as_json else rendering.line(message))


@command.command()
@click.argument("id")
@click.argument("text")
@author_option
@key_option
@service_options
@json_option
def reply(id: str, text: str, author: str | None, key: str | None, as_json: bool, **service: Any) -> None:
    """Reply to the message ID with TEXT; - reads the text from standard input."""
    with _client(**service) as client:
        message = client.reply(id, _text(text), author, key)
        lines = [_json(message)] if as_json else rendering.threads([message], _parents(client, [message]))
        _echo(lines)


@command.command()
@limit_option
@service_options
@json_option
def recent(limit: int | None, as_json: bool, **service: Any) -> None:
    """Show the newest messages: the newest last, or first with --json."""
    with _client(**service) as client:
        _show(client, client.recent(limit), as_json)


@command.command()
@click.argument("time", type=Time())
@limit_option
@service_options
@json_option
def since(time: datetime, limit: int | None, as_json: bool, **service: Any) -> None:
    """Show the messages since TIME: 10am, 10:00, yesterday, 2h, or an RFC 3339 time."""
    with _client(**service) as client:
        _show(client, client.since(time, limit), as_json)


@command.command()
@click.argument("id")
@service_options
@json_option
def show(id: str, as_json: bool, **service: Any) -> None:
    """Show the message ID with all its replies."""
    with _client(**service) as client:
        thread = client.get(id)
        replies = list(client.replies(id)) if thread.more else thread.replies
        if as_json:
            click.echo(json.dumps(_document(thread.message) | {"replies": [_document(each) for each in replies]}))
        else:
            _show(client, [thread.message, *replies], as_json=False)


@command.command()
@click.option("--after", help="Cursor to start from; by default only new messages are shown.")
@click.option(
    "--interval",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0.01),
    help="Seconds between requests while nothing new arrives.",
)
@service_options
@json_option
def follow(after: str | None, interval: float, as_json: bool, **service: Any) -> None:
    """Show each new message as it is stored, until Ctrl-C; with --json, one object per line.

    It goes on when the service is away. At its end it prints the cursor to go on from, on standard error.
    """
    with _client(**service) as client:
        try:
            for message in client.follow(after, interval):
                _echo([_json(message)] if as_json else rendering.threads([message], _parents(client, [message])))
        finally:
            if client.followed_to:
                click.echo(f"to go on from here: python -m client follow --after {client.followed_to}", err=True)


@command.command()
@click.argument("text", default="")
@click.option("--from", "sender", default="+15005550006", show_default=True, help="Phone number of the sender.")
@click.option("--media", multiple=True, help="URL of an attached picture; can be repeated.")
@click.option("--sid", help="MessageSid of the text; a text with the same one is stored only once. Random by default.")
@click.option(
    "--twilio-auth-token",
    envvar="LAB_TWILIO_AUTH_TOKEN",
    type=Secret(),
    show_envvar=True,
    required=True,
    help="Auth token that the service was started with.",
)
@click.option(
    "--public-base-url",
    envvar="LAB_PUBLIC_BASE_URL",
    show_envvar=True,
    help="Public base URL that the service was started with; the value of --url by default.",
)
@address_options
def sms(
    text: str,
    sender: str,
    media: tuple[str, ...],
    sid: str | None,
    twilio_auth_token: str,
    public_base_url: str | None,
    url: str,
    api_key: str | None,
) -> None:
    """Deliver TEXT to the service as Twilio delivers a text message; print what the phone receives.

    No account is needed: the request is signed with the same algorithm as Twilio's. The service must have been
    started with the same LAB_TWILIO_AUTH_TOKEN (any value) and with LAB_PUBLIC_BASE_URL.

    \b
    Example:
      python -m client sms --from +15005550006 "on my way"
    """
    from client import sms

    with _client_errors_as_click_errors():
        received = sms.deliver(sms.signed(url, twilio_auth_token, sender, text, media, sid, public_base_url))
    _echo(received or ["(delivered; the phone receives no reply)"])


@command.command()
@click.argument("line")
@click.option("--user", default="you", show_default=True, help="Slack user name of the author.")
@click.option(
    "--slack-signing-secret",
    envvar="LAB_SLACK_SIGNING_SECRET",
    type=Secret(),
    show_envvar=True,
    required=True,
    help="Signing secret that the service was started with.",
)
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(0), help="How long to wait for the result."
)
@json_option
@address_options
def slack(
    line: str, user: str, slack_signing_secret: str, seconds: float, as_json: bool, url: str, api_key: str | None
) -> None:
    """Deliver the slash command LINE to the service as Slack does; print what the channel shows.

    A LINE that does not begin with / is delivered as a mention of the app, which shows nothing in the channel. No
    account is needed: the request is signed with the same algorithm as Slack's. The service must have been started
    with the same LAB_SLACK_SIGNING_SECRET (any value), and with --slack-response-urls loopback, so that it may send
    the result to this command.

    \b
    Examples:
      python -m client slack "/msg list 5"
      python -m client slack "/msg since 10:00"
    """
    from client import slack

    with _client_errors_as_click_errors(), slack.channel() as channel:
        if not line.startswith("/"):
            slack.deliver(slack.mention(url.rstrip("/"), slack_signing_secret, line, user))
            click.echo("(delivered; the channel shows nothing)")
            return
        slack.deliver(slack.command(url.rstrip("/"), slack_signing_secret, line, channel.response_url, user))
        try:
            answer = channel.answer(seconds)
        except TimeoutError as error:
            raise click.ClickException(f"{error}: see the service's log for the reason") from error
    _echo([json.dumps(answer)] if as_json else slack.lines(answer))


@contextmanager
def _client_errors_as_click_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _client(url: str, api_key: str | None, patience: float) -> Iterator[MessageClient]:
    with _client_errors_as_click_errors(), MessageClient(url, api_key, patience=patience) as client:
        yield client


def _show(client: MessageClient, messages: list[Message], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_document(message) for message in messages]))
    else:
        _echo(rendering.threads(messages, _parents(client, messages)))


def _parents(client: MessageClient, messages: list[Message]) -> dict[str, Message]:
    """Fetch the messages that `messages` reply to and that are not among them, by id."""
    shown = {message.id for message in messages}
    parents = {}
    for id in {message.reply_to for message in messages if message.reply_to is not None} - shown:
        try:
            parents[id] = client.get(id).message
        except NotFound:
            continue
    return parents


def _text(argument: str) -> str:
    return sys.stdin.read() if argument == "-" else argument


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _json(message: Message) -> str:
    return json.dumps(_document(message))


def _document(message: Message) -> dict[str, Any]:
    return asdict(message) | {"created_at": message.created_at.isoformat(timespec="milliseconds")}


if __name__ == "__main__":
    command(prog_name="python -m client")
