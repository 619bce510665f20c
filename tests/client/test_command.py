"""The command `python -m client`: its output for people and for scripts, and its errors."""

import json
import subprocess
import sys

import pytest

from client import MessageClient
from client.__main__ import command
from harness.ports import free_port
from harness.servers import Server
from server import __version__
from tests.commands import complaint, run
from tests.conftest import StartServer
from tests.in_process import invoke
from tests.strange_servers import answering, http

FIELDS = {"id", "text", "author", "created_at", "reply_to", "source", "seq"}


@pytest.fixture
def url(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a running service; LAB_URL names it too."""
    monkeypatch.setenv("LAB_URL", shared_server.url)
    return shared_server.url


def newest(url: str) -> tuple[str, str]:
    """Text and author of the newest message."""
    with MessageClient(url) as client:
        (message,) = client.recent(limit=1)
    return message.text, message.author


def output(*arguments: str) -> str:
    """Run the command, which must succeed, and return its stdout."""
    ended = run("client", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_hello(url: str) -> None:
    assert output("hello").startswith("Hello")
    assert json.loads(output("hello", "--json"))["version"] == __version__


def test_send(url: str) -> None:
    assert "lunch?" in output("send", "lunch?")
    assert newest(url) == ("lunch?", "anonymous")


def test_send_under_a_name(url: str) -> None:
    assert "mia" in output("send", "lunch?", "--author", "mia")
    assert newest(url) == ("lunch?", "mia")


def test_send_prints_the_stored_message_as_json(url: str) -> None:
    message = json.loads(output("send", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n", "--json"))
    assert set(message) == FIELDS
    assert (message["text"], message["author"]) == newest(url)


def test_send_takes_a_text_from_standard_input(url: str) -> None:
    send = [sys.executable, "-m", "client", "send", "-"]
    subprocess.run(send, input="two\nlines\n", text=True, check=True, stdout=subprocess.DEVNULL, timeout=60)
    assert newest(url)[0] == "two\nlines\n"


def test_a_text_that_begins_with_a_dash_follows_two_dashes(url: str) -> None:
    output("send", "--", "--limit")
    assert newest(url)[0] == "--limit"


def test_recent_is_a_line_for_each_message_with_the_newest_at_the_bottom(url: str) -> None:
    for number in range(3):
        output("send", f"number {number}")
    first, second = output("recent", "--limit", "2").splitlines()
    assert "number 1" in first
    assert "number 2" in second


def test_recent_as_json_is_newest_first(url: str) -> None:
    for number in range(3):
        output("send", f"number {number}")
    messages = json.loads(output("recent", "--limit", "2", "--json"))
    assert [message["text"] for message in messages] == ["number 2", "number 1"]
    assert all(set(message) == FIELDS for message in messages)


def test_the_flag_is_stronger_than_the_variable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_URL", f"http://127.0.0.1:{free_port()}")
    assert output("hello", "--url", url).startswith("Hello")


def test_there_are_no_colours_in_a_pipe(url: str) -> None:
    output("send", "lunch?", "--author", "mia")
    assert "\x1b" not in output("recent")


def test_control_characters_are_escaped(url: str) -> None:
    output("send", "first\x1b[2Jsecond\rthird", "--author", "m\x1b[31mia\x07")
    (line,) = output("recent", "--limit", "1").splitlines()
    assert line.isprintable()
    assert r"first\x1b[2Jsecond\rthird" in line
    assert r"m\x1b[31mia\x07" in line


# When it does not work.


@pytest.mark.parametrize("arguments", [["hello"], ["send", "lunch?"], ["recent", "--json"]])
def test_without_a_service_it_says_so_in_one_line(arguments: list[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert url in complaint(run("client", *arguments, "--url", url), 1)


@pytest.mark.parametrize("arguments", [["hello"], ["recent"]])
def test_another_service_is_named_in_one_line(arguments: list[str]) -> None:
    with answering(http('{"status": "ok"}')) as url:
        assert url in complaint(run("client", *arguments, "--url", url), 1)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(["send", ""], "text"), (["send", "x", "--author", ""], "author"), (["reply", "0" * 24, "x"], "no message")],
)
def test_a_refusal_is_one_line_with_the_field(url: str, arguments: list[str], field: str) -> None:
    assert field in complaint(run("client", *arguments), 1)


def test_a_refusal_by_the_rate_limit_says_how_long_to_wait(start_server: StartServer) -> None:
    server = start_server(write_limit="1/hour")
    run("client", "send", "first", "--url", server.url)
    assert "wait" in complaint(run("client", "send", "second", "--url", server.url), 1)


@pytest.mark.parametrize(
    ("arguments", "blamed"),
    [
        (["recent", "--limit", "many"], "--limit"),
        (["recent", "--limit", "0"], "--limit"),
        (["recent", "--colour"], "--colour"),
        (["send"], "TEXT"),
        (["send", "two", "texts"], "texts"),
        (["shout"], "shout"),
    ],
)
def test_bad_usage(arguments: list[str], blamed: str) -> None:
    assert blamed in complaint(invoke(command, *arguments), 2)


@pytest.mark.parametrize("arguments", [[], ["hello"], ["send"], ["recent"]])
def test_help(arguments: list[str]) -> None:
    ended = invoke(command, *arguments, "--help")
    assert ended.returncode == 0
    assert ended.stdout.startswith("Usage: ")
