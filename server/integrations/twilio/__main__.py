"""The command `python -m server.integrations.twilio`: check the setup of the Twilio integration."""

from typing import Any

import click

from server.integrations import check
from server.integrations.paths import SMS
from server.settings import options

FORBIDDEN = 403


@click.command()
@click.option("--check", "checking", is_flag=True, required=True, help="List the requirements that are not met.")
@click.option("--url", envvar="LAB_URL", default="http://127.0.0.1:8000", show_default=True, show_envvar=True)
@options("twilio_auth_token", "twilio_shared_key", "public_base_url", "api_keys")
def command(checking: bool, url: str, **given: Any) -> None:
    """Check the setup of the Twilio integration, and print the webhook URL to configure at Twilio.

    \b
    Example:
      python -m server.integrations.twilio --check
    """
    requirements = [
        check.setting(
            given["twilio_auth_token"] or given["twilio_shared_key"],
            "LAB_TWILIO_AUTH_TOKEN or LAB_TWILIO_SHARED_KEY",
            "Account Info, on https://console.twilio.com",
        ),
        check.public_url(given["public_base_url"]),
        check.access_keys(given["api_keys"]),
        check.integration_enabled(url, SMS, FORBIDDEN),
    ]
    # Whatever goes wrong is tried again: 4xx too, since a gateway before the service may say 429.
    click.echo(f"webhook  {given['public_base_url'] or 'https://YOUR-ADDRESS'}{SMS}#rc=5&rp=4xx,5xx,ct,rt")
    check.report(requirements)


if __name__ == "__main__":
    command(prog_name="python -m server.integrations.twilio")
