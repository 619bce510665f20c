"""What every flag of `python -m server` refuses."""

import socket

import pytest
from click.testing import CliRunner

from server.__main__ import command
from server.settings import flag


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("address", "example.com"),
        ("address", "0.0.0.0"),
        ("address", "::"),
        ("address", "192.0.2.1"),
        ("port", "http"),
        ("port", "-1"),
        ("port", "65536"),
        ("mongodb_uri", "http://127.0.0.1:27017"),
        ("database", ""),
        ("database", "a b"),
        ("database", "a" * 64),
        ("data_dir", __file__),
        ("driver", "mongoengine"),
        ("cache", "sometimes"),
        ("write_limit", "500"),
        ("write_limit", "0/second"),
        ("write_limit", "-1/second"),
        ("write_limit", "500/fortnight"),
        ("write_limit", "500/second; 10/hour"),
        ("api_keys", "a-name-alone"),
        ("api_keys", "ada:short"),
        ("api_keys", "ada:12345678,ada:87654321"),
        ("trusted_proxies", "proxy.example.com"),
        ("trusted_proxies", "10.0.0.7/8"),
        ("access_log", "yes"),
        ("allow_profiling", "maybe"),
        ("until_stdin_closes", "1"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_flag(name: str, value: str) -> None:
    # A port in use keeps the server from starting, should it take the value after all.
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = [] if name == "port" else ["--port", str(occupied.getsockname()[1])]
        result = CliRunner().invoke(command, [*port, flag(name), value])
    assert result.exit_code == 2, result.output
    assert flag(name) in result.stderr.splitlines()[-1]
