"""What we know of Slack: how it signs, where it takes answers, who its users are. With `slack_sdk`."""

import logging
import re
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.signature import Clock, SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

# Together with the longest wait for MongoDB these fit into the time that a server takes to stop.
SECONDS_TO_ASK = 2
SECONDS_TO_ANSWER = 3
FROM_SLACK = re.compile(r"https://hooks\.slack\.com/[!-~]*")
FROM_THIS_MACHINE = re.compile(r"http://127\.0\.0\.1:[0-9]{1,5}/[!-~]*")

# Whatever keeps Slack from being asked or told something.
UNREACHABLE = (SlackClientError, aiohttp.ClientError, OSError, TimeoutError)


class Slack:
    """One Slack app. Without a `bot_token` nothing can be asked about users."""

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
        except Exception:  # strange times, signatures and bodies make the verifier stumble, each in its own way
            return False

    def may_answer(self, response_url: str) -> bool:
        """Whether answers may be sent to `response_url`. Others could make this service call its neighbours."""
        return bool(
            FROM_SLACK.fullmatch(response_url) or (self._to_this_machine and FROM_THIS_MACHINE.fullmatch(response_url))
        )

    async def answer(self, response_url: str, message: dict[str, Any]) -> None:
        """Show `message` to whoever gave the command. If Slack does not take it, the log says so."""
        client = AsyncWebhookClient(response_url, timeout=SECONDS_TO_ANSWER)
        if FROM_THIS_MACHINE.fullmatch(response_url):
            client.proxy = None
        try:
            taken = await client.send_dict({"response_type": "ephemeral", **message})
        except UNREACHABLE as error:
            logging.warning("an answer did not reach Slack: %s", type(error).__name__)
        else:
            if taken.status_code != 200:
                logging.warning("Slack did not take an answer: %s %.200s", taken.status_code, taken.body)

    async def zone(self, user_id: str) -> tzinfo | None:
        """The time zone of a user, or None where Slack does not tell."""
        if self._bot_token is None:
            return None
        client = AsyncWebClient(self._bot_token, base_url=f"{self._api_url}/", timeout=SECONDS_TO_ASK)
        try:
            return ZoneInfo((await client.users_info(user=user_id))["user"]["tz"])
        except (*UNREACHABLE, LookupError, TypeError, ValueError) as error:
            logging.warning("Slack does not tell the time zone of a user: %s", type(error).__name__)
            return None
