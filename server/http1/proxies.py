"""From whom a request is that comes through a proxy."""

import ipaddress
from collections.abc import Sequence

from server.http1.reading import Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """Believes these networks what they say in `X-Forwarded-For`, and nobody else.

    Each proxy adds the address that it was called from at the right. So the list is read from there, as long as who
    said it is trusted; what is further to the left anybody may have written.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = networks

    def caller(self, address: str, request: Request) -> str:
        """The address that a request is from, which has come on a connection with `address`."""
        if (forwarded := request.header(b"x-forwarded-for")) is None:
            return address
        for said in reversed(forwarded.split(",")):
            if not self._trusts(address) or not (before := _address(said)):
                break
            address = before
        return address

    def _trusts(self, address: str) -> bool:
        if not (plain := _address(address)):  # a Unix socket has none
            return False
        return any(ipaddress.ip_address(plain) in network for network in self.networks)


def _address(said: str) -> str:
    """An address in its usual form, without a port; empty if it is none."""
    text = said.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # some proxies add the port
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
