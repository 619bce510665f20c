"""Which of Slack's events is a message for us, and what it says. Knows no HTTP.

A message is taken if it mentions the app or was sent to it directly, whatever else it is: in a thread or also to the
channel, with files, by `/me`, mentioned only when it was edited. Left out, by name, are bots, our own messages,
deletions, and what Slack tells of a channel in the form of messages.
"""

import re
from dataclasses import dataclass
from typing import Any

from server.integrations.slack.markup import typed
from server.integrations.slack.models import EventModel
from server.messages import Invalid

MENTION = re.compile(r"\s*<@([A-Z0-9]+)(?:\|[^>]*)?>\s*")
BOTS = ("bot_id", "bot_profile")
# Subtypes of a message that somebody wrote. Of an app_mention all others are too, unless they are named below.
WRITTEN = {None, "", "thread_broadcast", "file_share", "me_message"}
NOT_WRITTEN = {"bot_message", "message_deleted", "message_changed", "message_replied", "tombstone"}


@dataclass(frozen=True)
class Mention:
    """What somebody has said to the app. `key` is the same for one message, under however many events it comes.

    `parent_key` is the key of the message that it is a reply to, None if it is none.
    """

    text: str
    author: str
    key: str
    parent_key: str | None


def mention(outer: EventModel) -> Mention | None:
    """The message in an event, or None if it is none. Raises `Invalid` for an event that lacks what it must have."""
    event = outer.event
    own = {str(each.get("user_id")) for each in outer.authorizations or [] if each.get("is_bot")}
    if outer.type != "event_callback" or not _is_for_us(event, own):
        return None
    user, text = event.get("user"), event.get("text")
    if str(user) in own or any(event.get(mark) for mark in BOTS):
        return None
    files = _files(event.get("files"))
    if not outer.event_id or not isinstance(user, str) or not isinstance(text or "", str) or not (text or files):
        raise Invalid("the event is incomplete", (("event", "give event_id, event.user and event.text"),))
    said = typed(_without_our_name(text or "", own))
    whole = "\n".join(filter(str.strip, [said, *files]))
    # JSON can hold half a surrogate pair, which no message can.
    whole = whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if not whole:
        return None
    return Mention(whole, user, _key(outer, event.get("ts")), _parent_key(outer))


def _is_for_us(event: dict[str, Any], own: set[str]) -> bool:
    subtype = event.get("subtype")
    if event.get("type") == "app_mention":
        return subtype not in NOT_WRITTEN
    if event.get("type") != "message" or subtype not in WRITTEN:
        return False
    # Of a mention beside a file Slack sends no app_mention (https://github.com/slackapi/bolt-python/issues/925).
    return event.get("channel_type") == "im" or (subtype == "file_share" and _mentions(event.get("text"), own))


def _mentions(text: Any, own: set[str]) -> bool:
    return isinstance(text, str) and any(re.search(rf"<@{re.escape(each)}[|>]", text) for each in own)


def _without_our_name(text: str, own: set[str]) -> str:
    """The text without the mention of the app at its beginning."""
    found = MENTION.match(text)
    return text[found.end() :] if found and (not own or found[1] in own) else text


def _files(files: Any) -> list[str]:
    """Where the files of a message are, or at least their names."""
    named = [each for each in files if isinstance(each, dict)] if isinstance(files, list) else []
    addresses = (each.get("permalink") or each.get("url_private") or each.get("name") for each in named)
    return [each for each in addresses if isinstance(each, str)]


def _key(outer: EventModel, ts: Any) -> str:
    """A message is known by the team of who wrote it, its channel and its time there, whatever the event's id is."""
    event = outer.event
    team, channel = event.get("team") or event.get("user_team") or outer.team_id, event.get("channel")
    if not (isinstance(channel, str) and isinstance(ts, str)):
        return f"slack:event:{outer.event_id}"
    return f"slack:message:{team}:{channel}:{ts}"


def _parent_key(outer: EventModel) -> str | None:
    thread = outer.event.get("thread_ts")
    return _key(outer, thread) if isinstance(thread, str) and thread != outer.event.get("ts") else None
