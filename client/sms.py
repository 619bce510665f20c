"""Simulates Twilio: delivers text messages to the service, signed with Twilio's library."""

import secrets
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

import requests
from twilio.request_validator import RequestValidator

from client import webhooks

PATH = "/integrations/twilio/sms"


def signed(
    url: str,
    auth_token: str,
    sender: str,
    text: str,
    media: Sequence[str] = (),
    sid: str | None = None,
    public_base_url: str | None = None,
    path: str = PATH,
    fields: Mapping[str, str] | None = None,
) -> requests.PreparedRequest:
    """Build the signed webhook request that delivers a text to the service at `url`.

    `media` are the URLs of attachments. `sid` is the MessageSid, random by default. `public_base_url` is the address
    that the service was configured with, which the signature covers; `url` by default.
    `path` is where the service listens for texts; `fields` are added to those that Twilio sends, or replace them.
    """
    sent = {
        "ToCountry": "US",
        "MessageSid": sid or f"SM{secrets.token_hex(16)}",
        "AccountSid": "AC" + "0" * 32,
        "From": sender,
        "To": "+15005550000",
        "Body": text,
        "NumSegments": "1",
        "NumMedia": str(len(media)),
        **{f"MediaUrl{number}": each for number, each in enumerate(media)},
        **(fields or {}),
    }
    signature = RequestValidator(auth_token).compute_signature((public_base_url or url).rstrip("/") + path, sent)
    request = requests.Request("POST", url.rstrip("/") + path, data=sent, headers={"X-Twilio-Signature": signature})
    return request.prepare()


def deliver(request: requests.PreparedRequest) -> list[str]:
    """Send a signed request and return the texts with which the service replies. Raises `client.ClientError`."""
    answer = webhooks.send(request)
    if not answer.headers.get("Content-Type", "").endswith("/xml"):
        return [answer.text]  # Twilio sends a body that is not XML to the phone unchanged
    root = ElementTree.fromstring(answer.content)  # noqa: S314  # the response of our own service
    return ["".join(each.itertext()).strip() for each in root.iter("Message")]
