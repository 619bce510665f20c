"""Texts as Twilio passes them on, signed with Twilio's own library."""

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
    """The request by which Twilio tells the service at `url` of a text. Sent twice, it is a replay.

    `sid` is its MessageSid, a new one if left out; `public_base_url` is what the service believes its own
    address to be, `url` if left out. `path` is where the service listens for texts; `fields` are added to those
    that Twilio sends, or take their place.
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
    """Send a signed request; returns the texts that the phone gets back. Raises `client.ClientError`."""
    answer = webhooks.send(request)
    if not answer.headers.get("Content-Type", "").endswith("/xml"):
        return [answer.text]  # Twilio would text it back as it is
    root = ElementTree.fromstring(answer.content)  # noqa: S314  # what a service of our own says
    return ["".join(each.itertext()).strip() for each in root.iter("Message")]
