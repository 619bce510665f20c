"""From whom a request is: only those are believed who are trusted, and only for what they can know."""

import ipaddress

import pytest

from server.http1.proxies import TrustedProxies
from server.http1.reading import Request

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"), ipaddress.ip_network("127.0.0.1")]


def request(forwarded: str | None) -> Request:
    found = Request(b"GET", b"/", "1.1", {}, keeps_alive=True, read_at=0.0)
    if forwarded is not None:
        found.headers[b"x-forwarded-for"] = forwarded.encode("latin-1")
    return found


@pytest.mark.parametrize(
    ("address", "forwarded", "caller"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("203.0.113.7", "203.0.113.9", "203.0.113.7"),  # not trusted
        ("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the caller has written the first itself
        ("127.0.0.1", "203.0.113.9, 10.1.2.3", "203.0.113.9"),  # two proxies of ours
        ("127.0.0.1", "198.51.100.1,203.0.113.9,10.1.2.3", "203.0.113.9"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),  # a proxy of ours asks for itself
        ("127.0.0.1", "nonsense, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "203.0.113.9, nonsense", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::1", "2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("", "203.0.113.9", ""),  # a Unix socket
    ],
)
def test_the_caller(address: str, forwarded: str | None, caller: str) -> None:
    assert TrustedProxies(TRUSTED).caller(address, request(forwarded)) == caller


def test_nobody_is_trusted_unless_named() -> None:
    assert TrustedProxies([]).caller("127.0.0.1", request("203.0.113.9")) == "127.0.0.1"
