"""What a webhook of Twilio becomes: the texts of one message or of several, or none. Knows no HTTP.

Twilio delivers SMS and MMS, and what comes by WhatsApp, RCS and Messenger, in one form. What its fields mean is in
https://www.twilio.com/docs/messaging/guides/webhook-request
"""

import re
from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from server.integrations.pieces import split
from server.messages import MAX_AUTHOR

# Twilio answers these words itself, and also delivers them: in SMS to long codes and toll-free numbers, alone in the
# text. https://help.twilio.com/articles/223134027
KEYWORDS = frozenset(
    "stop stopall unsubscribe cancel end quit optout revoke start yes unstop help info".split()  # noqa: SIM905
)
# Both ends of an SMS that is no short code's: others carry the channel before the number, as in whatsapp:+15005550006.
PHONE = re.compile(r"\+[0-9]{7,15}")
# What the status of a message that comes in can be. Any other is of one that was sent from here: a status callback.
INCOMING = {"", "receiving", "received"}

SID_PATTERN = "^[A-Z]{2}[0-9a-fA-F]{32}$"


def _sid(value: str) -> str:
    if not re.fullmatch(SID_PATTERN, value):
        raise ValueError("is not the id of a text: it must have two capital letters and 32 hex digits")
    return value


class SmsForm(BaseModel):
    """The form fields of a text message that the service uses; Twilio sends others, which are ignored.

    Twilio signs the concatenation of names and values, so an attacker with a recorded form could move characters from
    one field to the next. The exact length of `MessageSid` prevents that such a form counts as another text.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    MessageSid: Annotated[str, AfterValidator(_sid), Field(json_schema_extra={"pattern": SID_PATTERN})]
    From: str = ""
    To: str = ""
    Body: str = ""
    OptOutType: str = ""
    MessageStatus: str = ""
    MessageType: str = ""
    # Of WhatsApp and RCS: what was chosen from a menu, and a place.
    ButtonText: str = ""
    Latitude: str = ""
    Longitude: str = ""
    Address: str = ""
    Label: str = ""

    @property
    def author(self) -> str:
        """Who has sent it: a number, a short code, a name, or an id of WhatsApp's, with its channel; cut to fit."""
        return self.From.strip()[:MAX_AUTHOR]


def media(form: Mapping[str, Sequence[str]]) -> list[str]:
    """The URLs of the attachments, in order."""
    names = takewhile(form.__contains__, (f"MediaUrl{number}" for number in count()))
    return [url for name in names for url in form[name]]


def texts(sms: SmsForm, attachments: Sequence[str]) -> list[str]:
    """The texts to store for a webhook, of which all but the first are replies to it. None for what is no message.

    These are status callbacks, keywords that Twilio answers, and what holds nothing at all.
    """
    if sms.MessageStatus.lower() not in INCOMING or _is_keyword(sms, attachments):
        return []
    place = _place(sms)
    said = sms.Body if sms.Body.strip() else sms.ButtonText
    whole = "\n".join(filter(None, [said, *place, *attachments]))
    if not whole.strip() and sms.MessageType not in ("", "text"):
        whole = f"[{sms.MessageType}]"  # of a kind that this service does not know: better a word than nothing
    return split(whole)


def _is_keyword(sms: SmsForm, attachments: Sequence[str]) -> bool:
    if sms.OptOutType:
        return True  # Twilio says so
    by_sms = PHONE.fullmatch(sms.From) and (PHONE.fullmatch(sms.To) or not sms.To)
    return bool(by_sms) and not attachments and sms.Body.strip().casefold() in KEYWORDS


def _place(sms: SmsForm) -> list[str]:
    """The name and address of a place, if it has them, and where it is (RFC 5870)."""
    if not (sms.Latitude and sms.Longitude):
        return []
    return [*filter(None, [sms.Label, sms.Address]), f"geo:{sms.Latitude},{sms.Longitude}"]
