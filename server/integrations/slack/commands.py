"""The command `/msg`: from its words to the service, and back to what Slack shows."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from server.admission import Admission
from server.integrations.slack import blocks, times
from server.messages import ID_PATTERN, MessageError, MessageService, NewMessage, Page, StoreUnavailable
from server.validation import validated

DEFAULT_LISTED = 10
HELP = """\
/msg send TEXT
/msg list N
/msg since 10:00   (or 10am, yesterday, 2h, 2024-02-29T12:00:00Z)
/msg reply ID TEXT
/msg help"""


class Misunderstood(Exception):
    """The words are no command. The text says what to write."""


@dataclass(frozen=True)
class Command:
    """What `author` wrote after `/msg`. `once` is the same if Slack, or somebody else, sends it again."""

    words: str
    author: str
    user_id: str
    once: str


@dataclass(frozen=True)
class CommandContext:
    """The collaborators of a command. `zone` gives the time zone of a user id, or None if it is unknown."""

    service: MessageService
    admission: Admission
    zone: Callable[[str], Awaitable[tzinfo | None]]


def unescaped(text: str) -> str:
    """`text` from Slack, as it was typed: Slack escapes three characters in all it passes on."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


async def obey(command: Command, context: CommandContext) -> dict[str, Any]:
    """Do what `command` says; returns what Slack is to show. Safe to repeat. Raises `StoreUnavailable`."""
    verb, rest = _split(command.words)
    try:
        match verb.lower():
            case "send":
                return await _post(command, context, rest)
            case "reply":
                id, text = _split(rest)
                return await _post(command, context, text, _id(id))
            case "list":
                return await _list(context, rest)
            case "since":
                return await _since(command, context, rest)
            case "" | "help":
                return blocks.said(HELP)
            case _:
                raise Misunderstood(f"There is no command “{verb}”. These there are:\n{HELP}")
    except StoreUnavailable:
        raise
    except (Misunderstood, MessageError) as error:
        return blocks.said(str(error))


def given_up(error: StoreUnavailable) -> dict[str, Any]:
    """What to show when the database stayed away."""
    return blocks.said(
        f"The database does not answer ({error}). What you sent may not be stored: "
        "look at /msg list before you send it again."
    )


async def _post(command: Command, context: CommandContext, text: str, reply_to: str | None = None) -> dict[str, Any]:
    if not text:
        raise Misunderstood(f"There is no text. Write one of these:\n{HELP}")
    given = {"text": text, "author": command.author, "reply_to": reply_to}
    new = validated(NewMessage, given, "the message")
    context.admission.admit("slack", is_write=True)
    message, _ = await context.service.post(new, "slack", command.once)
    return blocks.listed("Stored:", [message])


async def _list(context: CommandContext, words: str) -> dict[str, Any]:
    if not re.fullmatch("[1-9][0-9]{0,3}", words or str(DEFAULT_LISTED)):
        raise Misunderstood(f"“{words}” is not a number of messages: write one such as /msg list 5")
    wanted = int(words or DEFAULT_LISTED)
    page = await context.service.recent(min(wanted, blocks.MAX_MESSAGES))
    return _page(page, "The newest messages:", "There are no messages yet.", wanted)


async def _since(command: Command, context: CommandContext, words: str) -> dict[str, Any]:
    zone = await context.zone(command.user_id)
    try:
        since = times.parse(words, datetime.now(zone or UTC))
    except ValueError as error:
        raise Misunderstood(str(error)) from error
    page = await context.service.since(since.astimezone(UTC), blocks.MAX_MESSAGES)
    read_as = f"{since:%Y-%m-%d %H:%M} {zone or since.tzinfo}"
    return _page(page, f"Messages since {read_as}:", f"There are no messages since {read_as}.")


def _page(page: Page, heading: str, nothing: str, wanted: int = blocks.MAX_BLOCKS) -> dict[str, Any]:
    if not page.messages:
        return blocks.said(nothing)
    cut = page.next is not None and wanted > len(page.messages)
    return blocks.listed(
        heading, page.messages, "There are older ones, which are too many to show here." if cut else ""
    )


def _split(words: str) -> tuple[str, str]:
    """The first word, and the rest, which is kept as it is but for the space around it."""
    first, *rest = words.split(maxsplit=1) or [""]
    return first, rest[0] if rest else ""


def _id(word: str) -> str:
    id = word.strip("`")
    if not re.fullmatch(ID_PATTERN, id):
        raise Misunderstood(f"“{word}” is not the id of a message: copy its 24 hex digits, as /msg list shows them")
    return id
