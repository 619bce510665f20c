"""The command `python -m client`: talk to a running message service."""

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

Command = TypeVar("Command", bound=Callable[..., Any])
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
author_option = click.option("--author", help="Who says it; anonymous if left out.")
limit_option = click.option("--limit", type=click.IntRange(1), help="How many at most.")


def service(command: Command) -> Command:
    """The options that say where the service is, and who we are."""
    key = click.option(
        "--api-key", envvar="LAB_API_KEY", show_envvar=True, help="Access key, if the service wants one."
    )
    url = click.option(
        "--url",
        envvar="LAB_URL",
        default="http://127.0.0.1:8000",
        show_default=True,
        show_envvar=True,
        help="The service.",
    )
    return url(key(command))


class Time(click.ParamType[datetime]):
    """A time as `client.times` reads it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return times.parse(str(value))
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


class Secret(click.ParamType[str]):
    """A secret to sign with."""

    name = "secret"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip():
            self.fail("is empty: give what the service was started with", param, ctx)
        return str(value)


@click.group()
def command() -> None:
    """Talk to a running message service.

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


@command.command()
@service
@json_option
def hello(url: str, api_key: str | None, as_json: bool) -> None:
    """Ask the service who it is."""
    with _client(url, api_key) as client:
        greeting = client.hello()
    click.echo(json.dumps(greeting) if as_json else greeting["greeting"])


@command.command()
@click.argument("text")
@author_option
@service
@json_option
def send(text: str, author: str | None, url: str, api_key: str | None, as_json: bool) -> None:
    """Store TEXT as a message; - reads it from standard input."""
    with _client(url, api_key) as client:
        message = client.send(_text(text), author)
    click.echo(_json(message) if as_json else rendering.line(message))


@command.command()
@click.argument("id")
@click.argument("text")
@author_option
@service
@json_option
def reply(id: str, text: str, author: str | None, url: str, api_key: str | None, as_json: bool) -> None:
    """Answer the message ID with TEXT; - reads it from standard input."""
    with _client(url, api_key) as client:
        message = client.reply(id, _text(text), author)
        lines = [_json(message)] if as_json else rendering.threads([message], _answered(client, [message]))
        _echo(lines)


@command.command()
@limit_option
@service
@json_option
def recent(limit: int | None, url: str, api_key: str | None, as_json: bool) -> None:
    """Show the newest messages: the newest at the bottom, with --json first."""
    with _client(url, api_key) as client:
        _show(client, client.recent(limit), as_json)


@command.command()
@click.argument("time", type=Time())
@limit_option
@service
@json_option
def since(time: datetime, limit: int | None, url: str, api_key: str | None, as_json: bool) -> None:
    """Show the messages since TIME: 10am, 10:00, yesterday, 2h, or an RFC 3339 time."""
    with _client(url, api_key) as client:
        _show(client, client.since(time, limit), as_json)


@command.command()
@click.argument("id")
@service
@json_option
def show(id: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Show the message ID with all its replies."""
    with _client(url, api_key) as client:
        thread = client.get(id)
        replies = list(client.replies(id)) if thread.more else thread.replies
        if as_json:
            click.echo(json.dumps(_document(thread.message) | {"replies": [_document(each) for each in replies]}))
        else:
            _show(client, [thread.message, *replies], as_json=False)


@command.command()
@click.option("--after", help="Cursor to begin after; now if left out.")
@click.option(
    "--interval", default=0.5, show_default=True, type=click.FloatRange(0.01), help="Seconds between questions."
)
@service
@json_option
def follow(after: str | None, interval: float, url: str, api_key: str | None, as_json: bool) -> None:
    """Show every new message as it comes, until Ctrl-C; with --json, one object a line."""
    with _client(url, api_key) as client:
        for message in client.follow(after, interval):
            _echo([_json(message)] if as_json else rendering.threads([message], _answered(client, [message])))


@command.command()
@click.argument("text", default="")
@click.option("--from", "sender", default="+15005550006", show_default=True, help="Number of who sends it.")
@click.option("--media", multiple=True, help="Address of a picture that is sent along; can be repeated.")
@click.option("--sid", help="The text's MessageSid; give one twice, and see it stored once.")
@click.option(
    "--twilio-auth-token",
    envvar="LAB_TWILIO_AUTH_TOKEN",
    type=Secret(),
    show_envvar=True,
    required=True,
    help="The service's token.",
)
@click.option(
    "--public-base-url",
    envvar="LAB_PUBLIC_BASE_URL",
    show_envvar=True,
    help="What the service was told; --url if left out.",
)
@service
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
    """Send TEXT as a phone would, through Twilio; print what the phone gets back.

    No account is needed, because this signs as Twilio does. The service must have been started with the
    same LAB_TWILIO_AUTH_TOKEN (any word will do) and with LAB_PUBLIC_BASE_URL.

    \b
    Example:
      python -m client sms --from +15005550006 "on my way"
    """
    from client import sms

    with _errors_told():
        back = sms.deliver(sms.signed(url, twilio_auth_token, sender, text, media, sid, public_base_url))
    _echo(back or ["(delivered; the phone gets nothing back)"])


@command.command()
@click.argument("line")
@click.option("--user", default="you", show_default=True, help="Name of who writes it.")
@click.option(
    "--slack-signing-secret",
    envvar="LAB_SLACK_SIGNING_SECRET",
    type=Secret(),
    show_envvar=True,
    required=True,
    help="The service's secret.",
)
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(0), help="How long to wait for an answer."
)
@json_option
@service
def slack(
    line: str, user: str, slack_signing_secret: str, seconds: float, as_json: bool, url: str, api_key: str | None
) -> None:
    """Give the command LINE as somebody in Slack would; print what the channel shows.

    A LINE that does not begin with / is a mention of the app, which shows nothing. No account is needed,
    because this signs as Slack does. The service must have been started with the same
    LAB_SLACK_SIGNING_SECRET (any word will do), and with --slack-response-urls loopback, so that it may
    send its answer to this command.

    \b
    Examples:
      python -m client slack "/msg list 5"
      python -m client slack "/msg since 10:00"
    """
    from client import slack

    with _errors_told(), slack.channel() as channel:
        if not line.startswith("/"):
            slack.deliver(slack.mention(url.rstrip("/"), slack_signing_secret, line, user))
            click.echo("(delivered; the channel shows nothing)")
            return
        slack.deliver(slack.command(url.rstrip("/"), slack_signing_secret, line, channel.response_url, user))
        try:
            answer = channel.answer(seconds)
        except TimeoutError as error:
            raise click.ClickException(f"{error}: the service's log says why") from error
    _echo([json.dumps(answer)] if as_json else slack.lines(answer))


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _client(url: str, api_key: str | None) -> Iterator[MessageClient]:
    with _errors_told(), MessageClient(url, api_key) as client:
        yield client


def _show(client: MessageClient, messages: list[Message], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_document(message) for message in messages]))
    else:
        _echo(rendering.threads(messages, _answered(client, messages)))


def _answered(client: MessageClient, messages: list[Message]) -> dict[str, Message]:
    """The messages that are answered by some of `messages` without being one of them, by id."""
    shown = {message.id for message in messages}
    answered = {}
    for id in {message.reply_to for message in messages if message.reply_to is not None} - shown:
        try:
            answered[id] = client.get(id).message
        except NotFound:
            continue
    return answered


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
