"""Addresses of services: what is suggested, what is shown of them, and which are of this machine."""

import pytest

from client import ClientError
from client.addresses import checked, is_of_this_machine, shown


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost:8000", "http://localhost:8000"),
        ("lab.example.com", "http://lab.example.com"),
        ("lab.example.com/", "http://lab.example.com/"),
        ("nonsense at all", "http://127.0.0.1:8000"),
        ("ftp://lab", "http://127.0.0.1:8000"),
        ("http://", "http://127.0.0.1:8000"),
        ("http://lab:99999", "http://127.0.0.1:8000"),
        ("http://lab:x", "http://127.0.0.1:8000"),
        ("http://[::1", "http://127.0.0.1:8000"),
        ("", "http://127.0.0.1:8000"),
    ],
)
def test_what_was_probably_meant(url: str, meant: str) -> None:
    with pytest.raises(ClientError) as refused:
        checked(url)
    assert str(refused.value).endswith(f"write one such as {meant}")


def test_the_slash_at_the_end_does_not_matter() -> None:
    assert checked("https://lab.example.com/behind/") == "https://lab.example.com/behind"


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://lab:8000", "http://lab:8000"),
        ("http://u:p@lab:8000/x", "http://lab:8000/x"),
        ("http://u:p/w@lab", "http://lab"),  # a slash that was not escaped
        ("http://u:p@w@lab", "http://lab"),
        ("u:p@lab", "lab"),
    ],
)
def test_no_password_is_shown(url: str, seen: str) -> None:
    assert shown(url) == seen
    with pytest.raises(ClientError) as refused:
        checked(url.replace("http", "mongo"))
    assert "p@" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "of"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.8.8.8", True),
        ("http://[::1]:8000", True),
        ("http://localhost:8000", True),
        ("http://lab.localhost", True),
        ("http://192.168.0.1", False),
        ("http://localhost.example.com", False),
    ],
)
def test_addresses_of_this_machine(url: str, of: bool) -> None:
    assert is_of_this_machine(url) is of
