"""Addresses of services: whether one can be used, how it is shown, and whether it is of this machine."""

import ipaddress
import re
from urllib.parse import urlsplit

from client.errors import ClientError


def checked(url: str) -> str:
    """The base URL without its last slash. Raises `ClientError` with one that was probably meant."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if usable and not re.search(r"\s", url):
        return url.rstrip("/")
    meant = f"http://{url.strip()}" if re.fullmatch(r"[\w.-]+(:\d{1,5})?/?", url.strip()) else "http://127.0.0.1:8000"
    raise ClientError(f"{shown(url)!r} is not the address of a service: write one such as {meant}")


def shown(url: str) -> str:
    """The address as others may see it: without what stands before an @, which may be a password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    # The last @: whoever has not escaped a / or an @ in a password has not made it public.
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def is_of_this_machine(url: str) -> bool:
    """Whether the address is a loopback one, which no proxy can reach for us."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
