"""`python -m client sms` and `slack`: simulated webhooks, delivered to a running service."""

import json
from collections.abc import Iterator

import pytest
import requests

from harness.ports import free_port
from harness.servers import Server
from tests.commands import complaint, run
from tests.conftest import StartServer


@pytest.fixture
def server(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A service with both integrations; the client gets the same environment variables."""
    monkeypatch.setenv("LAB_TWILIO_AUTH_TOKEN", "any-token")
    monkeypatch.setenv("LAB_SLACK_SIGNING_SECRET", "any-secret")
    monkeypatch.setenv("LAB_PUBLIC_BASE_URL", "http://127.0.0.1:8000")
    server = start_server(slack_response_urls="loopback")
    monkeypatch.setenv("LAB_URL", server.url)
    return server


def output(*arguments: str) -> str:
    ended = run("client", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def newest(server: Server) -> tuple[str, str, str]:
    message = requests.get(f"{server.url}/messages", params={"limit": 1}).json()["messages"][0]
    return message["text"], message["author"], message["source"]


def test_sms(server: Server) -> None:
    assert "no reply" in output("sms", "--from", "+15005550006", "on my way")
    assert newest(server) == ("on my way", "+•••••••0006", "sms")
    for _ in range(2):
        output("sms", "--sid", "SM" + "1" * 32, "--media", "https://api.twilio.com/m", "look")
    assert len(requests.get(f"{server.url}/messages").json()["messages"]) == 2


def test_slack(server: Server) -> None:
    output("slack", "/msg send a & b <c>", "--user", "mia")
    assert newest(server) == ("a & b <c>", "mia", "slack")
    shown = output("slack", "/msg list 5").splitlines()
    assert shown[0] == "The newest messages:"
    assert "mia" in shown[1]
    assert shown[2] == "a & b <c>"
    assert "blocks" in json.loads(output("slack", "/msg list 5", "--json"))
    assert "shows nothing" in output("slack", "hello everybody", "--user", "joe")
    assert newest(server) == ("hello everybody", "UJOE", "slack")


def test_refusals_are_one_line(server: Server) -> None:
    assert "LAB_TWILIO_AUTH_TOKEN" in complaint(run("client", "sms", "x", "--twilio-auth-token", "wrong"), 1)
    assert "LAB_SLACK_SIGNING_SECRET" in complaint(run("client", "slack", "/msg", "--slack-signing-secret", "wrong"), 1)
    nobody = f"http://127.0.0.1:{free_port()}"
    assert nobody in complaint(run("client", "sms", "x", "--url", nobody), 1)
    empty = ["--slack-signing-secret", ""]
    assert "--slack-signing-secret" in complaint(run("client", "slack", "/msg", *empty), 2)
