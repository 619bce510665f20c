"""The routes of the integrations; a disabled integration answers 404 with an explanation."""

from http import HTTPStatus
from typing import Any

from server.admission import Admission
from server.api.base import Handler
from server.api.exchange import Dependencies
from server.api.parsing import FORM
from server.api.problems import BadRequest
from server.api.route import Operation, Route
from server.integrations.background import Background
from server.integrations.paths import COMMANDS, EVENTS, SMS
from server.settings import Settings, variable

SLACK_HEADERS = ("X-Slack-Request-Timestamp", "X-Slack-Signature")


class Disabled(Handler):
    """Answers 404 in place of an integration whose secret was not given."""

    public = True

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route)
        self.secret: str = collaborators["secret"]

    async def prepare(self) -> None:
        raise BadRequest(
            f"this integration is disabled: start the service with {variable(self.secret)} to enable it",
            status=HTTPStatus.NOT_FOUND,
        )


def integrations(settings: Settings, admission: Admission, background: Background) -> list[Route]:
    """The routes of Twilio and Slack, enabled according to `settings`.

    Their modules are imported only if enabled: their dependencies take a quarter of the start-up time.
    """
    return [*_twilio(settings), *_slack(settings, admission, background)]


def _twilio(settings: Settings) -> list[Route]:
    if settings.twilio_auth_token is None and settings.twilio_shared_key is None:
        return [Route(SMS, Disabled, collaborators={"secret": "twilio_auth_token"})]
    from server.integrations.twilio.handlers import Sms
    from server.integrations.twilio.texts import SmsForm

    operation = Operation(
        "post",
        "Webhook of Twilio: a text message, which is stored",
        None,
        answer_type="text/xml",
        body=SmsForm,
        body_type=FORM,
        headers=("X-Twilio-Signature",),
        errors=(400, 403, 413, 415),
    )
    collaborators = {
        "auth_token": settings.twilio_auth_token,
        "shared_key": settings.twilio_shared_key,
        "public_base_url": settings.public_base_url,
    }
    return [Route(SMS, Sms, (operation,), collaborators)]


def _slack(settings: Settings, admission: Admission, background: Background) -> list[Route]:
    if settings.slack_signing_secret is None:
        off = {"secret": "slack_signing_secret"}
        return [Route(COMMANDS, Disabled, collaborators=off), Route(EVENTS, Disabled, collaborators=off)]
    from server.integrations.slack.handlers import Commands, Events
    from server.integrations.slack.models import ChallengeModel, CommandForm, EventModel
    from server.integrations.slack.slack import Slack

    slack = Slack(
        settings.slack_signing_secret,
        settings.slack_bot_token,
        settings.slack_api_url,
        to_this_machine=settings.slack_response_urls == "loopback",
    )
    command = Operation(
        "post",
        "Webhook of Slack: the command /msg; its result is sent to its response_url",
        None,
        body=CommandForm,
        body_type=FORM,
        headers=SLACK_HEADERS,
        errors=(400, 413, 415),
    )
    event = Operation(
        "post",
        "Webhook of Slack: a mention of the app, which is stored as a message",
        ChallengeModel,
        body=EventModel,
        headers=SLACK_HEADERS,
        errors=(400, 413, 415, 429),
    )
    shared = {"slack": slack, "background": background}
    return [
        Route(COMMANDS, Commands, (command,), {**shared, "admission": admission}),
        Route(EVENTS, Events, (event,), shared),
    ]
