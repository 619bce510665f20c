"""MessageClient where it is really used: proxies, ~/.netrc, gateways, services that are started anew."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from client import ClientError, MessageClient, NotFound, NotTheService, Refused, ServiceUnavailable, TooMany
from client.__main__ import command
from harness.ports import free_port
from harness.servers import Server
from loadtests import service
from tests.commands import complaint, run
from tests.conftest import StartServer
from tests.in_process import invoke
from tests.strange_servers import answering, http

KEY = "a-key-of-mia"
PAGE = "<html><head><title>no</title></head></html>"


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An environment whose proxy answers everything, with a page of its own; gives its address."""
    with answering(http(PAGE, 403)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        yield proxy


@pytest.mark.usefixtures("proxies")
def test_this_machine_is_asked_directly(shared_server: Server) -> None:
    with MessageClient(shared_server.url) as client:
        assert client.send("hello") in client.recent()
    ended = invoke(command, "recent", "--url", shared_server.url.replace("127.0.0.1", "localhost"))
    assert "hello" in ended.stdout


@pytest.mark.usefixtures("proxies")
def test_other_machines_are_asked_through_the_proxy() -> None:
    with MessageClient("http://lab.example.com", retries=0) as client, pytest.raises(Refused) as refused:
        client.recent()
    assert refused.value.status == 403


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with (
        MessageClient("http://lab.example.com", retries=0) as client,
        pytest.raises(ServiceUnavailable, match="HTTP_PROXY"),
    ):
        client.recent()


def test_netrc_does_not_replace_our_key(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login any password body\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with MessageClient(start_server(api_keys=f"mia:{KEY}").url, api_key=KEY) as client:
        assert client.send("hello") in client.recent()


@pytest.mark.parametrize("key", ["a key", "line\nbreak", "100€-a-month", ""])
def test_a_key_that_no_header_can_hold_is_not_shown(key: str) -> None:
    with (
        MessageClient("http://127.0.0.1:1", api_key=key) as client,
        pytest.raises(ClientError, match="access key") as no,
    ):
        client.recent()
    assert not key or key not in str(no.value)


# Gateways, which know nothing of problems as JSON.


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Refused), (401, Refused), (404, NotFound), (413, Refused), (429, TooMany), (418, Refused)],
)
def test_a_page_of_a_gateway_is_what_its_status_says_at_once(status: int, error: type[Refused]) -> None:
    began = time.monotonic()
    with answering(http(PAGE, status)) as url, MessageClient(url, retries=0) as client:
        with pytest.raises(error, match=str(status)) as refused:
            client.send("hello")
        assert refused.value.status == status
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", ['{"errors": null}', '{"errors": {"a": 1}}', '{"errors": [null, 7]}', "[" * 100_000])
def test_problems_of_others_raise_what_is_ours(body: str) -> None:
    for status in (400, 503):
        with (
            answering(http(body, status)) as url,
            MessageClient(url, retries=0) as client,
            pytest.raises(ClientError),
        ):
            client.recent()


def test_deep_json_is_not_the_service_s() -> None:
    with answering(http("[" * 100_000)) as url, MessageClient(url) as client, pytest.raises(NotTheService):
        client.recent()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("\xb2", 0.0),
        ("-1", 0.0),
        ("1e3", 0.0),
        ("soon", 0.0),
        ("9" * 400, 0.0),
        ("in an hour", 3600.0),
        ("an hour ago", 0.0),
    ],
)
@pytest.mark.parametrize("body", ["{}", PAGE])
def test_retry_after_in_seconds_or_as_a_date(header: str, seconds: float, body: str) -> None:
    if "hour" in header:
        at = datetime.now(UTC) + timedelta(hours=1 if header.startswith("in") else -1)
        header = format_datetime(at, usegmt=True)
    answer = http(body, 429, f"Retry-After: {header}\n")
    with answering(answer) as url, MessageClient(url, retries=0) as client, pytest.raises(TooMany) as refused:
        client.send("hello")
    assert refused.value.retry_after == pytest.approx(seconds, abs=60)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_answer(status: int) -> None:
    answer = http("", status, "Location: https://u:p@lab.example.com/messages\n")
    with answering(answer) as url, MessageClient(url) as client, pytest.raises(Refused) as moved:
        client.send("hello")
    assert "https://lab.example.com/messages" in str(moved.value)


# A service that is started anew.


def test_a_call_outlives_a_restart(mongodb_uri: str, shared_db: Any, tmp_path: Path) -> None:
    place = {"mongodb_uri": mongodb_uri, "database": shared_db.name, "port": free_port()}
    first = service.start(tmp_path / "first.log", **place)
    with MessageClient(first.url, patience=60) as client:
        client.send("before")
        service.stop(first)
        sending = threading.Thread(target=lambda: client.send("meanwhile"))
        sending.start()
        second = service.start(tmp_path / "second.log", **place)
        sending.join(60)
        assert [each.text for each in client.recent(2)] == ["meanwhile", "before"]
    service.stop(second)


def test_without_patience_it_fails_at_once() -> None:
    began = time.monotonic()
    with MessageClient(f"http://127.0.0.1:{free_port()}", patience=0) as client, pytest.raises(ServiceUnavailable):
        client.recent()
    assert time.monotonic() - began < 4


def test_following_goes_on_after_a_restart_and_knows_where_it_is(
    mongodb_uri: str, shared_db: Any, tmp_path: Path
) -> None:
    place = {"mongodb_uri": mongodb_uri, "database": shared_db.name, "port": free_port()}
    first = service.start(tmp_path / "first.log", **place)
    with MessageClient(first.url, patience=0.2) as follower, MessageClient(first.url, patience=60) as writer:
        begin = follower.newest()
        following = follower.follow(begin, interval=0.01)
        one = writer.send("one")
        assert next(following) == one
        service.stop(first)
        found: list[object] = []
        waiting = threading.Thread(target=lambda: found.append(next(following)))
        waiting.start()
        second = service.start(tmp_path / "second.log", **place)
        two = writer.send("two")
        waiting.join(60)
        assert found == [two]
        assert follower.followed_to not in (None, begin)
        with MessageClient(second.url) as again:
            assert next(again.follow(follower.followed_to)) == two
    service.stop(second)


# The command.


def test_a_message_that_is_sent_again_with_its_key_is_stored_once(shared_server: Server) -> None:
    at = ["--url", shared_server.url, "--json"]
    sent = [json.loads(invoke(command, "send", "once", "--key", "my-own-key", *at).stdout) for _ in range(2)]
    assert sent[0] == sent[1]


def test_an_address_without_a_scheme_is_completed_in_the_error() -> None:
    said = complaint(invoke(command, "hello", "--url", "127.0.0.1:8000"), 1)
    assert said.endswith("write one such as http://127.0.0.1:8000")


def test_a_password_in_the_address_is_not_shown() -> None:
    said = complaint(
        invoke(command, "hello", "--url", f"http://mia:secret@127.0.0.1:{free_port()}", "--patience", "0"), 1
    )
    assert "secret" not in said


def test_a_terminal_that_cannot_show_a_letter(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    ended = run("client", "send", "\N{GRINNING FACE}", "--url", shared_server.url)
    assert ended.returncode == 0, ended.stderr
    assert r"\U0001f600" in ended.stdout


def test_following_says_where_to_go_on(shared_server: Server) -> None:
    with MessageClient(shared_server.url) as client:
        begin = client.newest()
        client.send("seen by who follows")
    arguments = [sys.executable, "-m", "client", "follow", "--after", begin, "--url", shared_server.url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert "seen by who follows" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=20)
    assert "follow --after" in said
