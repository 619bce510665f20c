"""`python -m client sms` and `slack`: practising without an account, on a service that runs."""

import json
from collections.abc import Iterator

import pytest
import requests

from harness.ports import free_port
from harness.servers import Server
from tests.commands import complaint, run
from tests.conftest import StartServer


@pytest.fixture
def practice(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A service set up as the README says, and the same variables for the client."""
    monkeypatch.setenv("LAB_TWILIO_AUTH_TOKEN", "practice")
    monkeypatch.setenv("LAB_SLACK_SIGNING_SECRET", "practice")
    monkeypatch.setenv("LAB_PUBLIC_BASE_URL", "http://127.0.0.1:8000")
    server = start_server(slack_response_urls="loopback")
    monkeypatch.setenv("LAB_URL", server.url)
    return server


def said(*arguments: str) -> str:
    ended = run("client", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def newest(server: Server) -> tuple[str, str, str]:
    message = requests.get(f"{server.url}/messages", params={"limit": 1}).json()["messages"][0]
    return message["text"], message["author"], message["source"]


def test_sms(practice: Server) -> None:
    assert "nothing back" in said("sms", "--from", "+15005550006", "on my way")
    assert newest(practice) == ("on my way", "+•••••••0006", "sms")
    for _ in range(2):
        said("sms", "--sid", "SM" + "1" * 32, "--media", "https://api.twilio.com/m", "look")
    assert len(requests.get(f"{practice.url}/messages").json()["messages"]) == 2


def test_slack(practice: Server) -> None:
    said("slack", "/msg send a & b <c>", "--user", "mia")
    assert newest(practice) == ("a & b <c>", "mia", "slack")
    shown = said("slack", "/msg list 5").splitlines()
    assert shown[0] == "The newest messages:"
    assert "mia" in shown[1]
    assert shown[2] == "a & b <c>"
    assert "blocks" in json.loads(said("slack", "/msg list 5", "--json"))
    assert "shows nothing" in said("slack", "hello everybody", "--user", "joe")
    assert newest(practice) == ("hello everybody", "UJOE", "slack")


def test_refusals_are_one_line(practice: Server) -> None:
    assert "LAB_TWILIO_AUTH_TOKEN" in complaint(run("client", "sms", "x", "--twilio-auth-token", "wrong"), 1)
    assert "LAB_SLACK_SIGNING_SECRET" in complaint(run("client", "slack", "/msg", "--slack-signing-secret", "wrong"), 1)
    nobody = f"http://127.0.0.1:{free_port()}"
    assert nobody in complaint(run("client", "sms", "x", "--url", nobody), 1)
    empty = ["--slack-signing-secret", ""]
    assert "--slack-signing-secret" in complaint(run("client", "slack", "/msg", *empty), 2)
