"""Slack's API, by `slack_sdk`: signatures, response URLs and users' time zones."""

import logging
import re
from datetime import tzinfo
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.signature import Clock, SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

# Together with the longest wait for MongoDB, these are less than the time that a server has to stop.
QUERY_TIMEOUT_SECONDS = 2
RESPOND_TIMEOUT_SECONDS = 3
SLACK_URL = re.compile(r"https://hooks\.slack\.com/[!-~]*")
GOV_SLACK_URL = re.compile(r"https://hooks\.slack-gov\.com/[!-~]*")
LOOPBACK_URL = re.compile(r"http://127\.0\.0\.1:[0-9]{1,5}/[!-~]*")

# The errors of requests to Slack.
UNREACHABLE = (SlackClientError, aiohttp.ClientError, OSError, TimeoutError)


class Slack:
    """A Slack app. Without a `bot_token` users' time zones are unknown; `to_this_machine` allows loopback URLs."""

    def __init__(
        self,
        signing_secret: str,
        bot_token: str | None,
        api_url: str,
        to_this_machine: bool,
        clock: Clock | None = None,
    ) -> None:
        self._verifier = SignatureVerifier(signing_secret, clock or Clock())
        self._bot_token = bot_token
        self._api_url = api_url
        self._to_this_machine = to_this_machine

    def is_authentic(self, body: bytes, timestamp: str | None, signature: str | None) -> bool:
        """Whether Slack has signed `body` within the last five minutes."""
        try:
            return self._verifier.is_valid(body, timestamp, signature)
        except Exception:  # the verifier raises various errors for malformed timestamps, signatures and bodies
            return False

    def is_response_url(self, response_url: str) -> bool:
        """Whether results may be sent to this URL. Other URLs would allow server-side request forgery."""
        is_gov = (urlsplit(self._api_url).hostname or "").endswith("slack-gov.com")
        of_slack = GOV_SLACK_URL if is_gov else SLACK_URL
        return bool(
            of_slack.fullmatch(response_url) or (self._to_this_machine and LOOPBACK_URL.fullmatch(response_url))
        )

    async def respond(self, response_url: str, message: dict[str, Any]) -> None:
        """Send `message` to the user who gave the command. Errors are logged."""
        client = AsyncWebhookClient(response_url, timeout=RESPOND_TIMEOUT_SECONDS)
        if LOOPBACK_URL.fullmatch(response_url):
            client.proxy = None
        try:
            response = await client.send_dict({"response_type": "ephemeral", **message})
        except UNREACHABLE as error:
            logging.warning("a result could not be sent to Slack: %s", type(error).__name__)
        else:
            if response.status_code != 200:
                logging.warning("Slack rejected a result: %s %.200s", response.status_code, response.body)

    async def zone(self, user_id: str) -> tzinfo | None:
        """The time zone of a user, or None if it is unknown. Errors are logged."""
        if self._bot_token is None:
            return None
        client = AsyncWebClient(self._bot_token, base_url=f"{self._api_url}/", timeout=QUERY_TIMEOUT_SECONDS)
        try:
            return ZoneInfo((await client.users_info(user=user_id))["user"]["tz"])
        except (*UNREACHABLE, LookupError, TypeError, ValueError) as error:
            logging.warning("the time zone of a Slack user is unknown: %s", type(error).__name__)
            return None
