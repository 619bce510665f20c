"""What is still missing before Twilio or Slack can reach the service, for the commands' `--check`."""

import ipaddress
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import click
import requests

SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that is needed: whether it is there, and what to do if not. Some things are only advice."""

    good: bool
    what: str
    cure: str
    needed: bool = True


def given(value: object, variable: str, where: str, needed: bool = True) -> Finding:
    """Whether a setting has a value; `where` says where to find it."""
    return Finding(value is not None, f"{variable} is given", f"set {variable}: {where}", needed)


def public(url: str | None) -> Finding:
    """Whether others can reach `url`, as far as one can tell from looking at it."""
    host = urlsplit(url or "").hostname or ""
    try:
        reachable = ipaddress.ip_address(host).is_global
    except ValueError:
        reachable = "." in host and not host.endswith((".local", ".localhost", ".internal"))
    good = reachable and (url or "").startswith("https://")
    return Finding(
        good,
        "LAB_PUBLIC_BASE_URL is a public https address",
        f"{url or 'nothing'} cannot be reached from outside: open a tunnel, and set LAB_PUBLIC_BASE_URL to its address",
    )


def keys(api_keys: object) -> Finding:
    """Whether strangers who find the public address can read and write messages."""
    return Finding(
        bool(api_keys),
        "the service asks for access keys",
        "set LAB_API_KEYS=name:key, or everybody who finds the tunnel can read and write messages",
        needed=False,
    )


def answering(url: str, path: str, refusal: int) -> Finding:
    """Whether the service at `url` runs with this integration: then it refuses what is not signed."""
    try:
        status: int | str = requests.post(url + path, timeout=SECONDS).status_code
    except requests.RequestException:
        status = "no answer"
    cure = {404: "the service was started without the secret: start it again"}.get(
        status if isinstance(status, int) else 0, f"got {status}: start the service with `make serve`"
    )
    return Finding(status == refusal, f"the service at {url} is switched on, and refuses what is not signed", cure)


def report(findings: Iterable[Finding]) -> None:
    """Print the findings, and exit with 1 if something that is needed is missing."""
    missing = 0
    for each in findings:
        mark = "ok     " if each.good else "missing" if each.needed else "advice "
        click.echo(f"{mark}  {each.what if each.good else each.cure}")
        missing += each.needed and not each.good
    sys.exit(1 if missing else 0)
