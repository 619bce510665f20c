"""Where Slack calls. It waits three seconds and no longer, so what takes longer goes on in the background."""

import asyncio
import logging
import re
from http import HTTPStatus
from typing import Any

from server.admission import Admission
from server.api import parsing
from server.api.base import Handler
from server.api.exchange import Dependencies
from server.api.parsing import FORM
from server.api.problems import BadRequest
from server.integrations.background import Background
from server.integrations.slack.commands import Command, CommandContext, given_up, obey, unescaped
from server.integrations.slack.models import CommandForm, EventModel
from server.integrations.slack.slack import Slack
from server.messages import Invalid, KeyReused, NewMessage, StoreUnavailable
from server.validation import validated

# Slack waits three seconds, its network included.
ACKNOWLEDGE_SECONDS = 2.0
MENTION = re.compile(r"\s*<@([A-Z0-9]+)(?:\|[^>]*)?>\s*")


class FromSlack(Handler):
    """What all requests from Slack have in common: its signature."""

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
                "this is not signed by Slack within the last five minutes: compare LAB_SLACK_SIGNING_SECRET "
                "with the app's page at Slack, and the clock of this machine with a good one",
                status=HTTPStatus.UNAUTHORIZED,
                headers={"WWW-Authenticate": "X-Slack-Signature"},
            )
        parsing.expect_type(headers.get("Content-Type", ""), self.takes)

    def acknowledge(self) -> None:
        """Tell Slack that this has arrived. It shows nothing for it."""
        self.set_header("Content-Type", "text/plain")
        self.finish()


class Commands(FromSlack):
    """`POST /integrations/slack/commands`: `/msg` and what follows it."""

    takes = FORM

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route, **collaborators)
        self.admission: Admission = collaborators["admission"]

    async def post(self) -> None:
        fields = {name: values[-1] for name, values in parsing.form(self.request.body).items()}
        if fields.get("ssl_check") == "1":
            self.acknowledge()
            return
        form = validated(CommandForm, fields, "the command")
        if form.response_url and not self.slack.may_answer(form.response_url):
            raise Invalid("response_url is not Slack's", (("response_url", "begin with https://hooks.slack.com/"),))
        # Slack sends a command once. If it comes again, somebody has recorded it.
        once = form.trigger_id or self.request.headers["X-Slack-Signature"]
        command = Command(
            unescaped(form.text), form.user_name.strip() or form.user_id, form.user_id, f"slack:command:{once}"
        )
        context = CommandContext(self.service, self.admission, self.slack.zone)
        work = self.background.start(self.background.patiently(lambda: obey(command, context)))
        await asyncio.wait({work}, timeout=ACKNOWLEDGE_SECONDS)
        self.acknowledge()
        if form.response_url:
            self.background.start(self._answer(form.response_url, work))

    async def _answer(self, response_url: str, work: asyncio.Task[dict[str, Any]]) -> None:
        try:
            message = await work
        except StoreUnavailable as error:
            message = given_up(error)
        await self.slack.answer(response_url, message)


class Events(FromSlack):
    """`POST /integrations/slack/events`: somebody mentions the app.

    What could not be stored at once is refused, and Slack sends it again. Only if MongoDB leaves us
    waiting is it acknowledged first and stored afterwards.
    """

    async def post(self) -> None:
        document = parsing.json_object(self.request.body)
        outer = validated(EventModel, document, "the event")
        if outer.type == "url_verification":
            self.send({"challenge": outer.challenge})
            return
        try:
            new = _mention(outer)
        except Invalid as error:
            raise BadRequest(str(error), error.errors, headers={"X-Slack-No-Retry": "1"}) from error
        if new is not None:
            self.exchange.admit("slack", is_write=True)
            work = self.background.start(self._post(new, outer.event_id))
            done, _ = await asyncio.wait({work}, timeout=ACKNOWLEDGE_SECONDS)
            if done:
                self.exchange.stored = work.result()
            else:
                self.background.start(self._post_later(work, new, outer.event_id))
        self.acknowledge()

    async def _post(self, new: NewMessage, event_id: str) -> int:
        try:
            message, _ = await self.service.post(new, "slack", f"slack:event:{event_id}")
        except KeyReused:
            return 0  # the first event with this id is the one that counts
        return message.seq or 0

    async def _post_later(self, work: "asyncio.Task[int]", new: NewMessage, event_id: str) -> None:
        try:
            await work
        except StoreUnavailable:
            try:
                await self.background.patiently(lambda: self._post(new, event_id))
            except StoreUnavailable as error:
                logging.error("the event %s from Slack was acknowledged and is lost: %s", event_id, error)


def _mention(outer: EventModel) -> NewMessage | None:
    """The message in an event, or None: of bots, our own among them, of edits and of other events there is none."""
    event = outer.event
    user, text = event.get("user"), event.get("text")
    own = {str(each.get("user_id")) for each in outer.authorizations if each.get("is_bot")}
    if outer.type != "event_callback" or event.get("type") != "app_mention":
        return None
    if str(user) in own or any(event.get(mark) for mark in ("bot_id", "bot_profile", "subtype", "edited")):
        return None
    if not outer.event_id or not isinstance(user, str) or not isinstance(text, str):
        raise Invalid("the mention is not complete", (("event", "give event_id, event.user and event.text"),))
    mention = MENTION.match(text)
    if mention and (not own or mention[1] in own):
        text = text[mention.end() :]
    text = unescaped(text)
    return validated(NewMessage, {"text": text, "author": user}, "the mention") if text.strip() else None
