"""Addresses without their passwords, in what the commands complain of."""

import pytest

from harness.addresses import shown
from tests.commands import run


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("mongodb://db1,db2/?replicaSet=rs0", "mongodb://db1,db2/?replicaSet=rs0"),
        ("mongodb://mia:secret@db1", "mongodb://db1"),
        ("mongodb://mia:sec/ret@db1", "mongodb://db1"),
        ("mongodb://mia:se@cret@db1", "mongodb://db1"),
        ("mongo://mia:secret@db1", "mongo://db1"),
        ("mia:secret@db1", "db1"),
        ("mongodb://mia:a://b@db1", "db1"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_a_password(address: str, seen: str) -> None:
    assert shown(address) == seen


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--mongodb-uri", "mongo://mia:xq/zq@db1"),
        ("--mongodb-uri", "mongodb://mia:xq/zq@127.0.0.1:1/?serverSelectionTimeoutMS=100"),
        ("--mongodb-uri", "mongodb://mia:xq@zq@127.0.0.1:1/?serverSelectionTimeoutMS=100"),
        ("--public-base-url", "https://mia:xq/zq@lab.example.com"),
    ],
)
def test_no_complaint_shows_a_password(flag: str, value: str) -> None:
    ended = run("server", "--port", "0", flag, value)
    assert ended.returncode != 0
    assert "xq" not in ended.stderr
    assert "zq" not in ended.stderr
