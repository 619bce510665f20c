"""The webhook of Twilio: SMS, MMS and WhatsApp messages."""

import contextlib
import re
from collections.abc import Iterator
from http import HTTPStatus
from itertools import count, takewhile
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse

from server.api import parsing
from server.api.base import Handler
from server.api.exchange import Dependencies
from server.api.parsing import FORM
from server.api.problems import BadRequest
from server.messages import Invalid, KeyReused, NewMessage
from server.validation import validated

NO_REPLY = str(MessagingResponse())
# Twilio answers these words itself, and also delivers them.
# https://help.twilio.com/articles/223134027
KEYWORDS = frozenset(
    "stop stopall unsubscribe cancel end quit optout revoke start yes unstop help info".split()  # noqa: SIM905
)


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
    From: Annotated[str, Field(min_length=1)]
    Body: str = ""
    OptOutType: str | None = None


class Form(dict[str, list[str]]):
    """Form fields with all their values. `getlist` is the interface of Django, which Twilio's library expects."""

    def getlist(self, name: str) -> list[str]:
        """All values of the field `name`."""
        return self[name]


def is_authentic(auth_token: str, url: str, form: Form, signature: str | None) -> bool:
    """Whether `signature` is Twilio's for this `form`, sent to the public `url`."""
    # Twilio's library raises an error without a signature; and an empty token would make signatures forgeable.
    return bool(auth_token and signature) and bool(RequestValidator(auth_token).validate(url, form, signature))


class Sms(Handler):
    """`POST /integrations/twilio/sms`. Signatures do not expire, so each `MessageSid` is stored only once."""

    public = True
    media_type = FORM

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route)
        self.auth_token: str = collaborators["auth_token"]
        self.public_base_url: str = collaborators["public_base_url"]

    async def post(self) -> None:
        form = self._signed_form()
        sms = validated(SmsForm, dict(_single(form)), "the text")
        text = "\n".join(filter(None, [sms.Body, *_media(form)]))
        if text.strip() and not _is_keyword(sms):
            new = validated(NewMessage, {"text": text, "author": sms.From}, "the text")
            self.exchange.admit("twilio", is_write=True)
            with contextlib.suppress(KeyReused):  # a text with this id is stored already
                message, _ = await self.service.post(new, "sms", f"sms:{sms.MessageSid}")
                self.exchange.stored = message.seq or 0
        self.set_header("Content-Type", "text/xml")
        self.finish(NO_REPLY)

    def _signed_form(self) -> Form:
        """The form, if its signature is valid. Raises `BadRequest` (403, 415)."""
        try:
            form = Form(parsing.form(self.request.body))
        except (BadRequest, ValueError):
            form = Form()  # Twilio's forms are UTF-8, so the signature check fails
        url = f"{self.public_base_url}{self.request.uri}"
        if not is_authentic(self.auth_token, url, form, self.request.headers.get("X-Twilio-Signature")):
            raise BadRequest(
                f"the signature is not Twilio's for {self.public_base_url}: "
                "compare LAB_PUBLIC_BASE_URL and LAB_TWILIO_AUTH_TOKEN with Twilio's console",
                status=HTTPStatus.FORBIDDEN,
            )
        parsing.expect_type(self.request.headers.get("Content-Type", ""), FORM)
        return form


def _single(form: Form) -> Iterator[tuple[str, str]]:
    """Yield the fields of `SmsForm` with their values. Raises `Invalid` for a field with several values."""
    for name in SmsForm.model_fields:
        values = set(form.get(name, []))
        if len(values) > 1:
            # The signature does not cover the order of values, so none of them can be preferred.
            raise Invalid(f"{name} is given with {len(values)} values", ((name, "give it once"),))
        yield from ((name, value) for value in values)


def _media(form: Form) -> list[str]:
    """The URLs of the attachments of an MMS, in order."""
    names = takewhile(form.__contains__, (f"MediaUrl{number}" for number in count()))
    return [url for name in names for url in form[name]]


def _is_keyword(sms: SmsForm) -> bool:
    return bool(sms.OptOutType) or sms.Body.strip().casefold() in KEYWORDS
