"""The slash command `/msg`: parse it, call the service, and format the result for Slack."""

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


class InvalidCommand(Exception):
    """The command cannot be parsed. The text says how to write it."""


@dataclass(frozen=True)
class Command:
    """A command: the `text` after `/msg`. `dedupe` is the idempotency key, the same if the request is repeated."""

    text: str
    author: str
    team_id: str
    user_id: str
    dedupe: str

    @property
    def caller(self) -> str:
        """Whose requests are counted. No access key has such a name, since those contain no colon."""
        return f"slack:{self.team_id}:{self.user_id}"


@dataclass(frozen=True)
class CommandContext:
    """The dependencies of a command. `zone` returns the time zone of a user id, or None if it is unknown."""

    service: MessageService
    admission: Admission
    zone: Callable[[str], Awaitable[tzinfo | None]]


async def run_command(command: Command, context: CommandContext) -> dict[str, Any]:
    """Run a command and return the Slack message with its result. Safe to repeat. Raises `StoreUnavailable`."""
    verb, rest = _split(command.text)
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
                return blocks.plain(HELP)
            case _:
                raise InvalidCommand(f"There is no command “{verb}”. The commands are:\n{HELP}")
    except StoreUnavailable:
        raise
    except (InvalidCommand, MessageError) as error:
        return blocks.plain(str(error))


def unavailable(error: StoreUnavailable) -> dict[str, Any]:
    """The Slack message for a command that failed because the database was unavailable."""
    return blocks.plain(
        f"The database does not answer ({error}). Your message may not be stored: "
        "see /msg list before you send it again."
    )


async def _post(command: Command, context: CommandContext, text: str, reply_to: str | None = None) -> dict[str, Any]:
    if not text:
        raise InvalidCommand(f"The text is missing. Write one of these:\n{HELP}")
    given = {"text": text, "author": command.author, "reply_to": reply_to}
    new = validated(NewMessage, given, "the message")
    context.admission.admit(command.caller, is_write=True)
    message, _ = await context.service.post(new, "slack", command.dedupe)
    return blocks.message_list("Stored:", [message])


async def _list(context: CommandContext, text: str) -> dict[str, Any]:
    if not re.fullmatch("[1-9][0-9]{0,3}", text or str(DEFAULT_LISTED)):
        raise InvalidCommand(f"“{text}” is not a number of messages: write one such as /msg list 5")
    wanted = int(text or DEFAULT_LISTED)
    page = await context.service.recent(min(wanted, blocks.MAX_MESSAGES))
    return _page(page, "The newest messages:", "There are no messages yet.", wanted)


async def _since(command: Command, context: CommandContext, text: str) -> dict[str, Any]:
    zone = await context.zone(command.user_id)
    try:
        since = times.parse(text, datetime.now(zone or UTC))
    except ValueError as error:
        raise InvalidCommand(str(error)) from error
    page = await context.service.since(since.astimezone(UTC), blocks.MAX_MESSAGES)
    read_as = f"{since:%Y-%m-%d %H:%M} {zone or since.tzinfo}"
    return _page(page, f"Messages since {read_as}:", f"There are no messages since {read_as}.")


def _page(page: Page, heading: str, nothing: str, wanted: int = blocks.MAX_BLOCKS) -> dict[str, Any]:
    if not page.messages:
        return blocks.plain(nothing)
    is_truncated = page.next is not None and wanted > len(page.messages)
    return blocks.message_list(
        heading, page.messages, "There are older messages, which are too many to show here." if is_truncated else ""
    )


def _split(text: str) -> tuple[str, str]:
    """The first word, and the rest, stripped."""
    first, *rest = text.split(maxsplit=1) or [""]
    return first, rest[0] if rest else ""


def _id(word: str) -> str:
    id = word.strip("`")
    if not re.fullmatch(ID_PATTERN, id):
        raise InvalidCommand(f"“{word}” is not the id of a message: copy its 24 hex digits, as /msg list shows them")
    return id
