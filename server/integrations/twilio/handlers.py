"""Texts: SMS, MMS and WhatsApp, as Twilio passes them on."""

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

SAY_NOTHING = str(MessagingResponse())
# Twilio itself answers these, and passes them on all the same.
# https://help.twilio.com/articles/223134027
KEYWORDS = frozenset(
    "stop stopall unsubscribe cancel end quit optout revoke start yes unstop help info".split()  # noqa: SIM905
)


SID_PATTERN = "^[A-Z]{2}[0-9a-fA-F]{32}$"


def _sid(value: str) -> str:
    if not re.fullmatch(SID_PATTERN, value):
        raise ValueError("is not the id of a text: it has two letters and 32 hex digits")
    return value


class SmsForm(BaseModel):
    """What Twilio tells of a text. It sends more fields than these, and may add others.

    Twilio signs names and values run together, so whoever has recorded a form could move characters from
    one field to the next. An id of exactly this shape cannot grow or shrink by that and become another text.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    MessageSid: Annotated[str, AfterValidator(_sid), Field(json_schema_extra={"pattern": SID_PATTERN})]
    From: Annotated[str, Field(min_length=1)]
    Body: str = ""
    OptOutType: str | None = None


class Form(dict[str, list[str]]):
    """Fields with all their values. Twilio's library asks for these by the name Django has for it."""

    def getlist(self, name: str) -> list[str]:
        """Every value of the field `name`."""
        return self[name]


def is_authentic(auth_token: str, url: str, form: Form, signature: str | None) -> bool:
    """Whether Twilio has signed this `form`, sent to the public `url`."""
    # Twilio's library takes no signature for an error; and an empty token would be known to everybody.
    return bool(auth_token and signature) and bool(RequestValidator(auth_token).validate(url, form, signature))


class Sms(Handler):
    """`POST /integrations/twilio/sms`. A signature is good for ever, so each `MessageSid` counts once."""

    public = True
    takes = FORM

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
            with contextlib.suppress(KeyReused):  # the first text with this id is the one that counts
                message, _ = await self.service.post(new, "sms", f"sms:{sms.MessageSid}")
                self.exchange.stored = message.seq or 0
        self.set_header("Content-Type", "text/xml")
        self.finish(SAY_NOTHING)

    def _signed_form(self) -> Form:
        """The form, once its signature has proved good. Raises `BadRequest`."""
        try:
            form = Form(parsing.form(self.request.body))
        except (BadRequest, ValueError):
            form = Form()  # Twilio sends forms in UTF-8 only
        url = f"{self.public_base_url}{self.request.uri}"
        if not is_authentic(self.auth_token, url, form, self.request.headers.get("X-Twilio-Signature")):
            raise BadRequest(
                f"this is not signed by Twilio, or not for {self.public_base_url}: "
                "compare LAB_PUBLIC_BASE_URL and LAB_TWILIO_AUTH_TOKEN with Twilio's console",
                status=HTTPStatus.FORBIDDEN,
            )
        parsing.expect_type(self.request.headers.get("Content-Type", ""), FORM)
        return form


def _single(form: Form) -> Iterator[tuple[str, str]]:
    """The fields of `SmsForm`, each with its one value. Raises `Invalid`: signed values have no order to choose by."""
    for name in SmsForm.model_fields:
        values = set(form.get(name, []))
        if len(values) > 1:
            raise Invalid(f"{name} is given with {len(values)} values", ((name, "give it once"),))
        yield from ((name, value) for value in values)


def _media(form: Form) -> list[str]:
    """Where the pictures and sounds of an MMS are, in their order."""
    names = takewhile(form.__contains__, (f"MediaUrl{number}" for number in count()))
    return [url for name in names for url in form[name]]


def _is_keyword(sms: SmsForm) -> bool:
    return bool(sms.OptOutType) or sms.Body.strip().casefold() in KEYWORDS
