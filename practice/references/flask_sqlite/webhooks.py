"""The routes at which Twilio and Slack call."""

import os

from flask import Flask, Response, request
from reading import checked_limit, checked_text
from service import Service
from signatures import escaped, is_from_slack, is_from_twilio, unescaped
from werkzeug.exceptions import BadRequest, Forbidden, Unauthorized, UnprocessableEntity

TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'  # says nothing back to the phone
SLACK_HELP = "Write `send TEXT` or `list N`."


def add_routes(app: Flask, service: Service) -> None:
    """Add the routes to `app`. Whose signatures are believed comes from the environment."""
    public_url = os.environ.get("PUBLIC_BASE_URL", "").rstrip("/")
    twilio_token = os.environ.get("TWILIO_AUTH_TOKEN", "")
    slack_secret = os.environ.get("SLACK_SIGNING_SECRET", "")

    @app.post("/sms")
    def sms() -> Response:
        # What Twilio signed is the address that it called, which a proxy may have changed on the way here.
        url = public_url + request.full_path.removesuffix("?")
        if not is_from_twilio(twilio_token, url, request.form, request.headers.get("X-Twilio-Signature")):
            raise Forbidden(f"this is not signed by Twilio for {url}")
        text = request.form.get("Body", "")
        if text.strip():
            service.admit()
            # Twilio sends a text again if it has not heard from us: the same MessageSid is the same text.
            service.add(checked_text(text), sms_sid=request.form.get("MessageSid"))
        return Response(TWIML, content_type="text/xml")

    @app.post("/slack/commands")
    def slack_command() -> dict[str, str]:
        if not is_from_slack(slack_secret, request.get_data(), request.headers):
            raise Unauthorized("this is not signed by Slack within the last five minutes")
        try:
            answer = obey(service, request.form.get("text", "").strip())
        except (BadRequest, UnprocessableEntity) as error:
            answer = escaped(error.description or SLACK_HELP)  # Slack shows an answer only if its status is 200
        return {"response_type": "ephemeral", "text": answer}


def obey(service: Service, words: str) -> str:
    """Do what a Slack command says, and return what Slack is to show."""
    verb, _, rest = words.partition(" ")
    if verb == "send":
        service.admit()
        service.add(checked_text(unescaped(rest)))
        return "Stored."
    if verb == "list":
        messages = service.newest(checked_limit(rest.strip() or "10"))
        return "\n".join(escaped(each.text) for each in messages) or "There are no messages yet."
    return SLACK_HELP
