"""Who sent this? The signatures of Twilio and Slack, checked by their own libraries, and Slack's way to escape text."""

from collections.abc import Mapping

from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict


def is_from_twilio(auth_token: str, url: str, form: MultiDict[str, str], signature: str | None) -> bool:
    """Tell whether Twilio signed this form for the public address `url`.

    The signature covers every field, blank ones too. Without a token anybody could sign, so nothing is accepted.
    """
    return bool(auth_token and signature) and bool(RequestValidator(auth_token).validate(url, form, signature))


def is_from_slack(signing_secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Tell whether Slack signed these very bytes, within the last five minutes."""
    try:
        return bool(signing_secret) and SignatureVerifier(signing_secret).is_valid_request(body, headers)
    except (ValueError, TypeError):  # a timestamp that is no number, a signature or a body that is no text
        return False


def unescaped(text: str) -> str:
    """Return what somebody typed in Slack, which escapes three characters. The ampersand is the last to turn back."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def escaped(text: str) -> str:
    """Return `text` for Slack to show as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
