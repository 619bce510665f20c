"""The option `--check`: which requirements are not met before Twilio or Slack can reach the service."""

import ipaddress
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import click
import requests

TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Requirement:
    """A requirement, whether it is met, and the remedy if not. Without `mandatory` it is only a recommendation."""

    met: bool
    description: str
    remedy: str
    mandatory: bool = True


def setting(value: object, variable: str, where: str, mandatory: bool = True) -> Requirement:
    """The setting `variable` has a value; `where` says where to find it."""
    return Requirement(value is not None, f"{variable} is set", f"set {variable}: {where}", mandatory)


def public_url(url: str | None) -> Requirement:
    """`url` is an https URL with a public host. Judged by the URL alone: nothing is requested."""
    host = urlsplit(url or "").hostname or ""
    try:
        reachable = ipaddress.ip_address(host).is_global
    except ValueError:
        reachable = "." in host and not host.endswith((".local", ".localhost", ".internal"))
    met = reachable and (url or "").startswith("https://")
    return Requirement(
        met,
        "LAB_PUBLIC_BASE_URL is a public https address",
        f"{url or 'no address'} is not reachable from the internet: open a tunnel, and set LAB_PUBLIC_BASE_URL to it",
    )


def access_keys(api_keys: object) -> Requirement:
    """The service requires access keys (a recommendation)."""
    return Requirement(
        bool(api_keys),
        "the service requires access keys",
        "set LAB_API_KEYS=name:key, or everybody who knows the public URL can read and write messages",
        mandatory=False,
    )


def integration_enabled(url: str, path: str, refusal: int) -> Requirement:
    """The service at `url` has the integration at `path`: it refuses unsigned requests with status `refusal`."""
    try:
        status: int | str = requests.post(url + path, timeout=TIMEOUT_SECONDS).status_code
    except requests.RequestException:
        status = "no response"
    remedy = {404: "the service was started without the secret: restart it"}.get(
        status if isinstance(status, int) else 0, f"received {status}: start the service with `make serve`"
    )
    return Requirement(status == refusal, f"the service at {url} refuses unsigned requests", remedy)


def report(requirements: Iterable[Requirement]) -> None:
    """Print the requirements, and exit with 1 if a mandatory one is not met, else with 0."""
    missing = 0
    for each in requirements:
        mark = "ok     " if each.met else "missing" if each.mandatory else "advice "
        click.echo(f"{mark}  {each.description if each.met else each.remedy}")
        missing += each.mandatory and not each.met
    sys.exit(1 if missing else 0)
