"""The settings of the service: for each its flag, its LAB_ variable, its default and what it accepts."""

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import limits

MIN_KEY = 8
NO_KEYS: tuple[tuple[str, str], ...] = ()
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
NOBODY: Networks = ()

Command = TypeVar("Command", bound=Callable[..., Any])


class Rate(click.ParamType[str]):
    """A rate such as `500/second`, or `off`, as text; `limits.parse` parses it where it is used."""

    name = "off|N/second"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        if text == "off":
            return text
        try:
            (rate,) = limits.parse_many(text)
            if rate.amount < 1:
                raise ValueError
        except ValueError:
            self.fail(f"{text!r} is not a rate: write 'off', or a number and a unit as in 500/second", param, ctx)
        return text


class Address(click.ParamType[str]):
    """An address to listen on: a numeric one, or `localhost`."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = "127.0.0.1" if value == "localhost" else str(value)
        try:
            ipaddress.ip_address(text)
        except ValueError:
            self.fail(f"{text!r} is not an address: write one such as 127.0.0.1 or ::1", param, ctx)
        return text


ApiKeys = tuple[tuple[str, str], ...]


class ApiKeysParam(click.ParamType[ApiKeys]):
    """Access keys: `name:key,name:key`."""

    name = "name:key,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ApiKeys:
        if isinstance(value, tuple):
            return value
        pairs = [each.strip().partition(":") for each in str(value).split(",") if each.strip()]
        keys = tuple((name, key) for name, _, key in pairs)
        if any(not name or len(key) < MIN_KEY or not key.isascii() for name, key in keys):
            # The keys themselves stay out of the message.
            self.fail(f"write NAME:KEY,NAME:KEY with keys of {MIN_KEY} or more ASCII characters", param, ctx)
        if len(dict(keys)) < len(keys):
            self.fail("a name is given twice: name each caller once", param, ctx)
        return keys


class NetworksParam(click.ParamType[Networks]):
    """Addresses and networks: `10.0.0.7,192.168.0.0/16`."""

    name = "address,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Networks:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(ipaddress.ip_network(each.strip()) for each in str(value).split(",") if each.strip())
        except ValueError as error:
            self.fail(f"{error}: write addresses or networks, such as 10.0.0.7,192.168.0.0/16", param, ctx)


class Secret(click.ParamType[str]):
    """A token or a secret. An empty one is refused: whoever knows that it is empty could sign with it."""

    name = "secret"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch("[!-~]+", str(value)):
            # The secret itself stays out of the message.
            self.fail("is empty, or holds a space: give it whole, or leave it out to switch this off", param, ctx)
        return str(value)


class Url(click.ParamType[str]):
    """The base URL of a service: http or https, a host, and what precedes the paths."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).rstrip("/")
        try:
            parts = urlsplit(text)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good or not re.fullmatch("[!-~]+", text) or set(text) & set("?#@"):
            # It stays out of the message: there may be a password in it.
            self.fail("is not an address of a service: write one such as https://lab.example.com", param, ctx)
        return text


class Switch(click.ParamType[str]):
    """`on` or `off`, or another word for a boolean that click accepts."""

    name = "on|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return "on" if click.BOOL.convert(value, param, ctx) else "off"


def knob(default: Any, help: str, type: Any = str) -> Any:
    """A dataclass field that is also a command-line flag and an environment variable."""
    return field(default=default, metadata={"help": help, "type": type})


def secret(help: str) -> Any:
    """A knob that holds a secret. Programs pass it on as a variable: other users can read a command line."""
    return field(default=None, metadata={"help": f"{help} Better given as a variable.", "type": Secret()})


@dataclass(frozen=True)
class DatabaseAddress:
    """The MongoDB connection string and the name of the database in it."""

    uri: str = field(repr=False)
    name: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run of the service. The defaults are the best configuration."""

    address: str = knob("127.0.0.1", "Address to listen on.", Address())
    port: int = knob(8000, "Port to listen on; 0 picks a free one.", click.IntRange(0, 65535))
    driver: str = knob(
        "motor", "MongoDB driver: Motor, or the asyncio client of PyMongo.", click.Choice(["motor", "pymongo"])
    )
    cache: str = knob("tail", "Where reads of the newest messages come from.", click.Choice(["off", "ttl", "tail"]))
    writes: str = knob("grouped", "One commit for each message, or for many.", click.Choice(["single", "grouped"]))
    write_limit: str = knob("off", "Writes admitted for the whole service.", Rate())
    client_limit: str = knob("off", "Requests admitted for each caller.", Rate())
    max_waiting: int = knob(1000, "Writes that may wait for the database; more are refused.", click.IntRange(1))
    fast_path: str = knob(
        "on",
        "Answer the most frequent requests for less than a Tornado handler does.",
        click.Choice(["on", "off"]),
    )
    event_loop: str = knob("uvloop", "What runs the coroutines.", click.Choice(["asyncio", "uvloop"]))
    workers: int = knob(1, "Processes that share the port.", click.IntRange(1, 64))
    api_keys: tuple[tuple[str, str], ...] = knob(
        NO_KEYS, "Access keys as NAME:KEY,…; better given as LAB_API_KEYS.", ApiKeysParam()
    )
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = knob(
        NOBODY,
        "Proxies whose X-Forwarded-For says whom a request is from: addresses or networks.",
        NetworksParam(),
    )
    public_base_url: str | None = knob(
        None, "Address under which others reach this service; Twilio's signatures cover it.", Url()
    )
    twilio_auth_token: str | None = secret("Auth token of the Twilio account whose texts become messages.")
    twilio_shared_key: str | None = secret("Secret of the SharedKey with which Twilio signs, in place of the token.")
    show_numbers: str = knob("off", "Show the numbers of those who sent texts in full.", Switch())
    slack_signing_secret: str | None = secret("Signing secret of the Slack app whose commands are obeyed.")
    slack_bot_token: str | None = secret("Bot token of the Slack app, to learn the time zone of a user.")
    slack_response_urls: str = knob(
        "slack",
        "Where answers to Slack commands may go: to Slack, or also to this machine, to practise.",
        click.Choice(["slack", "loopback"]),
    )
    slack_api_url: str = knob("https://slack.com/api", "Slack's own interface.", Url())
    access_log: str = knob("on", "Log a line for each request.", click.Choice(["on", "off"]))
    allow_profiling: str = knob("off", "Let py-spy of the same user attach.", click.Choice(["on", "off"]))
    until_stdin_closes: str = knob(
        "off", "Stop when standard input closes, for programs that start servers.", click.Choice(["on", "off"])
    )

    def __post_init__(self) -> None:
        if not self.api_keys and not ipaddress.ip_address(self.address).is_loopback:
            raise click.UsageError(
                f"--address {self.address} is reachable by others, and this service has no access keys: "
                "give it some with LAB_API_KEYS=name:key, or listen on a loopback address such as 127.0.0.1"
            )
        for name in ("twilio_auth_token", "twilio_shared_key"):
            if getattr(self, name) and not self.public_base_url:
                raise click.UsageError(
                    "Twilio signs the public address of this service along with each text: "
                    f"give it as {flag('public_base_url')}, or leave {flag(name)} out"
                )


def flag(name: str) -> str:
    """The command-line flag of the knob `name`."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of the knob `name`."""
    return "LAB_" + name.upper()


class Option(click.Option):
    """An option for which an empty variable is a value. Click itself would take an empty secret for none."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        if isinstance(self.type, Secret) and isinstance(self.envvar, str) and os.environ.get(self.envvar) == "":
            return ""
        return super().resolve_envvar_value(ctx)


def options(*names: str) -> Callable[[Command], Command]:
    """Decorate a click command with the knobs `names`, or with all of them."""
    knobs = [each for each in fields(Settings) if not names or each.name in names]

    def decorate(command: Command) -> Command:
        for each in reversed(knobs):
            command = click.option(
                flag(each.name),
                each.name,
                cls=Option,
                envvar=variable(each.name),
                default=each.default,
                type=each.metadata["type"],
                help=each.metadata["help"],
                show_default=each.default not in (None, ()),
                show_envvar=True,
            )(command)
        return command

    return decorate
