"""The command `python -m server.integrations.slack`: check the setup, or connect by Socket Mode."""

import asyncio
import logging
import signal
from typing import Any

import click

from server.integrations import check
from server.integrations.paths import COMMANDS, EVENTS
from server.integrations.slack import socket_mode
from server.integrations.slack.slack import UNREACHABLE
from server.settings import Option, Secret, options

UNAUTHORIZED = 401
APP_PAGE = "Basic Information, on the app's page at https://api.slack.com/apps"


@click.command()
@click.option("--check", "checking", is_flag=True, help="List the requirements that are not met.")
@click.option(
    "--socket-mode", "connecting", is_flag=True, help="Connect to Slack, and forward its requests to the service."
)
@click.option("--url", envvar="LAB_URL", default="http://127.0.0.1:8000", show_default=True, show_envvar=True)
@click.option(
    "--slack-app-token",
    cls=Option,
    envvar="LAB_SLACK_APP_TOKEN",
    type=Secret(),
    show_envvar=True,
    help="App-level token for Socket Mode; better set as an environment variable.",
)
@options("slack_signing_secret", "slack_bot_token", "slack_api_url", "public_base_url", "api_keys")
def command(checking: bool, connecting: bool, url: str, slack_app_token: str | None, **given: Any) -> None:
    """Connect a running service to Slack by Socket Mode, or check the setup of the Slack integration.

    \b
    Examples:
      python -m server.integrations.slack --check
      python -m server.integrations.slack --check --socket-mode
      python -m server.integrations.slack --socket-mode
    """
    url, secret = url.rstrip("/"), given["slack_signing_secret"]
    if checking:
        connection = [check.public_url(given["public_base_url"]), check.access_keys(given["api_keys"])]
        if connecting:
            connection = [check.setting(slack_app_token, "LAB_SLACK_APP_TOKEN", f"App-Level Tokens, under {APP_PAGE}")]
        bot_token = given["slack_bot_token"]
        check.report(
            [
                check.setting(secret, "LAB_SLACK_SIGNING_SECRET", APP_PAGE),
                check.setting(bot_token, "LAB_SLACK_BOT_TOKEN", "without it, times are read as UTC", mandatory=False),
                *connection,
                check.integration_enabled(url, COMMANDS, UNAUTHORIZED),
                check.integration_enabled(url, EVENTS, UNAUTHORIZED),
            ]
        )
    if not connecting:
        raise click.UsageError("give --check or --socket-mode")
    if secret is None or slack_app_token is None:
        raise click.UsageError(
            "Socket Mode needs LAB_SLACK_SIGNING_SECRET, the same as the service, and LAB_SLACK_APP_TOKEN"
        )
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        asyncio.run(_connect(url, secret, slack_app_token, given["slack_api_url"]))
    except UNREACHABLE as error:
        raise click.ClickException(f"cannot connect to Slack: {str(error).splitlines()[0]}") from error


async def _connect(url: str, signing_secret: str, app_token: str, api_url: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await socket_mode.bridge(url, signing_secret, app_token, api_url, stop)


if __name__ == "__main__":
    command(prog_name="python -m server.integrations.slack")
