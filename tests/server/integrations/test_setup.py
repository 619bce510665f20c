"""The setup of the integrations: secrets, the Slack manifest, and `--check`."""

from importlib.resources import files

import pytest
import yaml

from harness.servers import Server
from server.__main__ import command as serve
from server.integrations.paths import COMMANDS, EVENTS
from tests.commands import complaint, run
from tests.in_process import invoke
from tests.server.integrations.conftest import SECRET, TOKEN

SECRETS = ["twilio_auth_token", "twilio_shared_key", "slack_signing_secret", "slack_bot_token"]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", ["", " ", "a secret", "\n"])
def test_an_empty_secret_keeps_the_service_from_starting(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PUBLIC_BASE_URL", "https://lab.example.com")
    monkeypatch.setenv(f"LAB_{name.upper()}", value)
    ended = invoke(serve, "--port", "1")
    assert f"LAB_{name.upper()}" in complaint(ended, 2)
    assert "a secret" not in ended.stderr


def test_a_token_without_a_public_address_keeps_the_service_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TWILIO_AUTH_TOKEN", TOKEN)
    said = complaint(invoke(serve, "--port", "1"), 2)
    assert "--public-base-url" in said
    assert TOKEN not in said


def test_secrets_are_on_no_command_line(lab: Server) -> None:
    words = " ".join(map(str, lab.process.args))  # type: ignore[arg-type]
    assert TOKEN not in words
    assert SECRET not in words


def test_the_manifest_has_our_urls_and_scopes() -> None:
    manifest = yaml.safe_load((files("server.integrations") / "slack_manifest.yaml").read_text())
    (command,) = manifest["features"]["slash_commands"]
    events = manifest["settings"]["event_subscriptions"]
    assert command["command"] == "/msg"
    assert command["url"] == f"https://lab.example.com{COMMANDS}"
    assert events["request_url"] == f"https://lab.example.com{EVENTS}"
    assert events["bot_events"] == ["app_mention", "message.im"]
    scopes = {"app_mentions:read", "commands", "im:history", "users:read"}
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == scopes


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["twilio", "--check"], ["LAB_TWILIO_AUTH_TOKEN", "tunnel", "make serve"]),
        (["slack", "--check"], ["LAB_SLACK_SIGNING_SECRET", "LAB_SLACK_BOT_TOKEN", "tunnel", "make serve"]),
        (["slack", "--check", "--socket-mode"], ["LAB_SLACK_SIGNING_SECRET", "LAB_SLACK_APP_TOKEN", "make serve"]),
    ],
)
def test_check_lists_unmet_requirements(arguments: list[str], missing: list[str]) -> None:
    ended = run(f"server.integrations.{arguments[0]}", *arguments[1:], "--url", "http://127.0.0.1:1")
    assert ended.returncode == 1
    assert all(each in ended.stdout for each in missing)


def test_check_succeeds_when_all_mandatory_requirements_are_met(lab: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_URL", lab.url)
    monkeypatch.setenv("LAB_PUBLIC_BASE_URL", "https://lab.example.com")
    monkeypatch.setenv("LAB_TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("LAB_SLACK_SIGNING_SECRET", SECRET)
    for name in ("twilio", "slack"):
        ended = run(f"server.integrations.{name}", "--check")
        assert ended.returncode == 0, ended.stdout
        assert "missing" not in ended.stdout
        assert TOKEN not in ended.stdout
        assert SECRET not in ended.stdout
        assert ("#rc=5&rp=4xx,5xx,ct,rt" in ended.stdout) == (name == "twilio")


def test_the_slack_command_requires_an_option() -> None:
    assert "--check" in complaint(run("server.integrations.slack"), 2)
    assert "LAB_SLACK_APP_TOKEN" in complaint(run("server.integrations.slack", "--socket-mode"), 2)
