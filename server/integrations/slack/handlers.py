"""The webhooks of Slack. It waits three seconds for a response, so slower work continues in the background."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any

from server.admission import Admission
from server.api import parsing
from server.api.base import Handler
from server.api.exchange import Dependencies
from server.api.parsing import FORM
from server.api.problems import BadRequest
from server.integrations import pieces
from server.integrations.background import Background
from server.integrations.slack.commands import Command, CommandContext, run_command, unavailable
from server.integrations.slack.markup import typed
from server.integrations.slack.mentions import Mention, mention
from server.integrations.slack.models import CommandForm, EventModel
from server.integrations.slack.slack import Slack
from server.messages import MAX_AUTHOR, Invalid, StoreUnavailable
from server.validation import validated

# Slack waits three seconds, network time included.
ACKNOWLEDGE_SECONDS = 2.0


class SlackHandler(Handler):
    """The base class of the webhooks: checks Slack's signature."""

    public = True

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route)
        self.slack: Slack = collaborators["slack"]
        self.background: Background = collaborators["background"]

    async def prepare(self) -> None:
        await super().prepare()
        headers = self.request.headers
        timestamp, signature = headers.get("X-Slack-Request-Timestamp"), headers.get("X-Slack-Signature")
        if not self.slack.is_authentic(self.request.body, timestamp, signature):
            raise BadRequest(
                "the request has no valid signature of Slack from the last five minutes: "
                "compare LAB_SLACK_SIGNING_SECRET with the app's page at Slack, and check the clock of this machine",
                status=HTTPStatus.UNAUTHORIZED,
                headers={"WWW-Authenticate": "X-Slack-Signature"},
            )
        parsing.expect_type(headers.get("Content-Type", ""), self.media_type)

    def acknowledge(self) -> None:
        """Acknowledge the request with an empty body, for which Slack shows nothing."""
        self.set_header("Content-Type", "text/plain")
        self.finish()


class Commands(SlackHandler):
    """`POST /integrations/slack/commands`: the slash command `/msg`."""

    media_type = FORM

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route, **collaborators)
        self.admission: Admission = collaborators["admission"]

    async def post(self) -> None:
        fields = {name: values[-1] for name, values in parsing.form(self.request.body).items()}
        if fields.get("ssl_check") == "1":
            self.acknowledge()
            return
        form = validated(CommandForm, fields, "the command")
        if form.response_url and not self.slack.is_response_url(form.response_url):
            raise Invalid(
                "response_url is not a URL of Slack", (("response_url", "begin with https://hooks.slack.com/"),)
            )
        # Slack does not retry commands; a repeated one is a replay of a recorded request.
        dedupe = form.trigger_id or self.request.headers["X-Slack-Signature"]
        command = Command(
            typed(form.text),
            form.user_name.strip()[:MAX_AUTHOR] or form.user_id,
            form.team_id,
            form.user_id,
            f"slack:command:{dedupe}",
        )
        context = CommandContext(self.service, self.admission, self.slack.zone)
        work = self.background.start(self.background.retrying(lambda: run_command(command, context)))
        await asyncio.wait({work}, timeout=ACKNOWLEDGE_SECONDS)
        self.acknowledge()
        if form.response_url:
            self.background.start(self._respond(form.response_url, work))

    async def _respond(self, response_url: str, work: asyncio.Task[dict[str, Any]]) -> None:
        try:
            message = await work
        except StoreUnavailable as error:
            message = unavailable(error)
        await self.slack.respond(response_url, message)


class Events(SlackHandler):
    """`POST /integrations/slack/events`: a mention of the app, or a message to it, which is stored as a message.

    If storing it fails, the response is an error, and Slack retries the event. If storing takes longer than
    ACKNOWLEDGE_SECONDS, the event is acknowledged and stored in the background.
    """

    async def post(self) -> None:
        document = parsing.json_object(self.request.body)
        outer = validated(EventModel, document, "the event")
        if outer.type == "url_verification":
            self.send({"challenge": outer.challenge})
            return
        try:
            said = mention(outer)
        except Invalid as error:
            raise BadRequest(str(error), error.errors, headers={"X-Slack-No-Retry": "1"}) from error
        if said is not None:
            self.exchange.admit_webhook()
            work = self.background.start(self._post(said))
            done, _ = await asyncio.wait({work}, timeout=ACKNOWLEDGE_SECONDS)
            if done:
                self.exchange.stored = work.result()
            else:
                self.background.start(self._post_later(work, said))
        self.acknowledge()

    async def _post(self, said: Mention) -> int:
        """Store a message, as a reply if the one that it replies to is stored; return its number."""
        reply_to = None if said.parent_key is None else await self.service.stored_under(said.parent_key)
        texts, author = pieces.split(said.text), said.author[:MAX_AUTHOR]
        message = await pieces.post(self.service, "slack", said.key, texts, author, reply_to)
        return (message.seq if message else 0) or 0

    async def _post_later(self, work: "asyncio.Task[int]", said: Mention) -> None:
        try:
            await work
        except StoreUnavailable:
            try:
                await self.background.retrying(lambda: self._post(said))
            except StoreUnavailable as error:
                logging.error("a message of Slack was acknowledged but could not be stored (%s): %s", said.key, error)
