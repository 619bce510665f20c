"""The webhook of Twilio: SMS, MMS, WhatsApp and RCS."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from twilio.request_validator import SIGNATURE_SETTINGS_HEADER, RequestValidator, get_signature_algorithm
from twilio.twiml.messaging_response import MessagingResponse

from server.api import parsing
from server.api.base import Handler
from server.api.exchange import Dependencies
from server.api.parsing import FORM
from server.api.problems import BadRequest
from server.integrations import pieces
from server.integrations.twilio.texts import SmsForm, media, texts
from server.messages import Invalid
from server.validation import validated

NO_REPLY = str(MessagingResponse())


class Form(dict[str, list[str]]):
    """Form fields with all their values. `getlist` is the interface of Django, which Twilio's library expects."""

    def getlist(self, name: str) -> list[str]:
        """All values of the field `name`."""
        return self[name]


def is_authentic(secret: str, url: str, form: Form, signature: str | None, settings: str | None = None) -> bool:
    """Whether `signature` is Twilio's for this `form`, sent to the public `url`.

    `settings` is the header that comes with a signature by a SharedKey, and names its algorithm; `secret` is that key's
    then, and the auth token otherwise.
    """
    # Twilio's library raises an error without a signature; and an empty secret would make signatures forgeable.
    if not secret or not signature:
        return False
    return bool(RequestValidator(secret).validate(url, form, signature, get_signature_algorithm(settings)))


class Sms(Handler):
    """`POST /integrations/twilio/sms`. Signatures do not expire, so each `MessageSid` is stored only once."""

    public = True
    media_type = FORM

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route)
        self.auth_token: str | None = collaborators["auth_token"]
        self.shared_key: str | None = collaborators["shared_key"]
        self.public_base_url: str = collaborators["public_base_url"]

    async def post(self) -> None:
        form = self._signed_form()
        sms = validated(SmsForm, dict(_single(form)), "the text")
        if found := texts(sms, media(form)):
            # No rate limit: a phone cannot send a text again, and what Twilio has signed is not sent without end.
            self.exchange.admit_webhook()
            stored = await pieces.post(self.service, "sms", f"sms:{sms.MessageSid}", found, sms.author)
            self.exchange.stored = (stored.seq if stored else 0) or 0
        self.set_header("Content-Type", "text/xml")
        self.finish(NO_REPLY)

    def _signed_form(self) -> Form:
        """The form, if its signature is valid. Raises `BadRequest` (403, 415)."""
        try:
            form = Form(parsing.form(self.request.body))
        except (BadRequest, ValueError):
            form = Form()  # Twilio's forms are UTF-8, so the signature check fails
        url, headers = f"{self.public_base_url}{self.request.uri}", self.request.headers
        settings = headers.get(SIGNATURE_SETTINGS_HEADER)
        secret = self.auth_token if settings is None else self.shared_key
        if not is_authentic(secret or "", url, form, headers.get("X-Twilio-Signature"), settings):
            variable = "LAB_TWILIO_AUTH_TOKEN" if settings is None else "LAB_TWILIO_SHARED_KEY"
            raise BadRequest(
                f"the signature is not Twilio's for {self.public_base_url}: "
                f"compare LAB_PUBLIC_BASE_URL and {variable} with Twilio's console",
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
