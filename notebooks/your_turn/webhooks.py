"""The tasks of notebook 03: the signatures of Twilio and of Slack, made by hand."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator

from notebooks.your_turn.verdict import Verdict, not_yet, right, task

TOKEN, SECRET = "a-token-of-twilio", "a-secret-of-slack"

URL = "https://lab.example.com/integrations/twilio/sms"
FORM = {"From": "+15005550006", "Body": "lunch at noon?", "MessageSid": "SM1"}

TIMESTAMP = "1764442800"
BODY = "command=%2Fmsg&text=list+3"


@task("base64.b64encode(hmac.new(TOKEN.encode(), TEXT.encode(), hashlib.sha1).digest()).decode()")
def twilio(signature: str) -> Verdict:
    """Whether `signature` is Twilio's for FORM at URL."""
    if RequestValidator(TOKEN).validate(URL, FORM, signature):
        return right("Twilio's library accepts it, and so would the service")
    return not_yet("Twilio's library refuses it", _hint(signature, _TWILIO, "see Twilio's page on webhook security"))


@task("hmac.new(SECRET.encode(), TEXT.encode(), hashlib.sha256).hexdigest(), and what stands before it")
def slack(signature: str) -> Verdict:
    """Whether `signature` is Slack's for BODY at TIMESTAMP."""
    if hmac.compare_digest(signature, _of_slack()):
        return right("Slack's library makes the same one")
    return not_yet("Slack's library makes another", _hint(signature, _SLACK, "see Slack's page on verifying requests"))


def _of_slack() -> str:
    return str(SignatureVerifier(SECRET).generate_signature(timestamp=TIMESTAMP, body=BODY))


def _hint(signature: str, mistakes: Mapping[str, str], otherwise: str) -> str:
    return mistakes.get(signature, otherwise)


def _fields(form: Mapping[str, str], *, in_order: bool) -> str:
    return "".join(f"{name}{form[name]}" for name in (sorted(form) if in_order else form))


def _sha1(text: str) -> bytes:
    return hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _sha256(text: str) -> str:
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


# What a mistake gives, and the hint for it.
_TWILIO = {
    _base64(_sha1(URL)): "the form is signed too, not only the address: each name with its value behind it",
    _base64(_sha1(_fields(FORM, in_order=True))): "the address is signed too, before the form",
    _base64(_sha1(URL + _fields(FORM, in_order=False))): "the names of the form are sorted",
    _sha1(URL + _fields(FORM, in_order=True)).hex(): "Twilio writes the digest in base64, not in hexadecimal digits",
}
_SLACK = {
    _sha256(f"v0:{TIMESTAMP}:{BODY}"): "Slack writes the version before it: v0=",
    f"v0={_sha256(BODY)}": "the time is signed too, so that a request grows old: v0:TIMESTAMP:BODY",
    f"v0={_sha256(f'{TIMESTAMP}:{BODY}')}": "the version is signed too: v0:TIMESTAMP:BODY",
}
