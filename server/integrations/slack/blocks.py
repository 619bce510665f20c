"""Format results for Slack: Block Kit, with a plain text as fallback for notifications.

User content is escaped, so that it cannot contain mentions or links. The author of a message is in a block of its own,
so that a message's text cannot forge it.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from server.messages import Message

MAX_BLOCKS = 50
MAX_SECTION = 3000
# Of all blocks and the plain text together. Slack rejects longer messages (msg_blocks_too_long) without saying at which
# length: reports say at about 13,000 characters.
MAX_TOTAL = 12_500
MIN_SECTION = 100  # of each message at least so much is shown
# Each message takes two blocks; two are reserved for the heading and the note.
MAX_MESSAGES = (MAX_BLOCKS - 2) // 2
MAX_QUOTE = 60
MAX_AUTHOR = 80
MAX_LINE = 100

ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
INVISIBLE = {chr(code): "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\n\t"}
Block = dict[str, Any]


def escape(text: str, max_length: int = MAX_SECTION) -> str:
    """Escape `text` so that Slack shows it literally; truncate the result to `max_length` characters, with "…"."""
    pieces = [ESCAPES.get(each) or INVISIBLE.get(each) or each for each in text]
    # Characters outside the BMP count twice, in case Slack counts UTF-16 code units.
    sizes = [len(piece) + (piece > "\uffff") for piece in pieces]
    if sum(sizes) <= max_length:
        return "".join(pieces)
    count, remaining = 0, max_length - 1
    while sizes[count] <= remaining:
        remaining -= sizes[count]
        count += 1
    return "".join(pieces[:count]) + "…"


def plain(text: str) -> dict[str, Any]:
    """A Slack message with a plain text."""
    return {"text": escape(text)}


def message_list(heading: str, messages: Sequence[Message], note: str = "") -> dict[str, Any]:
    """A Slack message that lists up to MAX_MESSAGES `messages`, given newest first, with the newest at the bottom."""
    shown = sorted(messages[:MAX_MESSAGES], key=lambda message: message.seq or 0)
    by_id = {message.id: message for message in shown}
    lines = [heading, *(f"{message.author}: {message.text}" for message in shown)]
    plain_text = "\n".join(escape(line, MAX_LINE) for line in lines)
    bylines = [_byline(message, by_id) for message in shown]
    rest = MAX_TOTAL - len(plain_text) - sum(map(len, bylines)) - len(escape(heading)) - len(escape(note))
    max_length = min(MAX_SECTION, max(MIN_SECTION, rest // max(1, len(shown))))
    blocks = [_section(escape(heading))]
    for byline, message in zip(bylines, shown, strict=True):
        blocks += [_context(byline), _section(escape(message.text, max_length))]
    if note:
        blocks.append(_context(escape(note)))
    return {"text": plain_text, "blocks": blocks}


def _byline(message: Message, by_id: dict[str, Message]) -> str:
    """The author, time, id and parent of a message."""
    utc = message.created_at.astimezone(UTC)
    # Slack shows this in the time zone of the reader.
    time = f"<!date^{int(utc.timestamp())}^{{date_short_pretty}} {{time}}|{utc:%Y-%m-%d %H:%M} UTC>"
    parts = [escape(message.author, MAX_AUTHOR), time, f"`{message.id}`"]
    if message.reply_to is None:
        return " · ".join(parts)
    parent = by_id.get(message.reply_to)
    quoted = f"`{message.reply_to}`" if parent is None else _quote(parent)
    return f"↳ {' · '.join(parts)} · in reply to {quoted}"


def _quote(message: Message) -> str:
    return f"{escape(message.author, MAX_AUTHOR)}: {escape(' '.join(message.text.split()), MAX_QUOTE)}"


def _section(text: str) -> Block:
    # "verbatim" disables Slack's detection of names and links.
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}
