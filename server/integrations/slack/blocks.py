"""Messages as Slack shows them: Block Kit, and a text for where there are no blocks, such as a notification.

Everything that people wrote is escaped, so that it can mention nobody and link to nothing. Who wrote a
message stands in a block of its own, which no text can imitate.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from server.messages import Message

MAX_BLOCKS = 50
MAX_SECTION = 3000
# Slack takes no message that is much longer altogether.
MAX_TOTAL = 12_000
# Each message takes two blocks; two are kept for what is said around them.
MAX_MESSAGES = (MAX_BLOCKS - 2) // 2
MAX_QUOTE = 60
MAX_AUTHOR = 80
MAX_LINE = 100

ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
INVISIBLE = {chr(code): "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\n\t"}
Block = dict[str, Any]


def escape(text: str, room: int = MAX_SECTION) -> str:
    """`text` for Slack to show as it is, in no more than `room` characters; what is cut off becomes "…"."""
    pieces = [ESCAPES.get(each) or INVISIBLE.get(each) or each for each in text]
    # Characters that UTF-16 needs two units for count twice, in case Slack counts so.
    sizes = [len(piece) + (piece > "\uffff") for piece in pieces]
    if sum(sizes) <= room:
        return "".join(pieces)
    kept, left = 0, room - 1
    while sizes[kept] <= left:
        left -= sizes[kept]
        kept += 1
    return "".join(pieces[:kept]) + "…"


def said(text: str) -> dict[str, Any]:
    """A plain answer."""
    return {"text": escape(text)}


def listed(heading: str, messages: Sequence[Message], note: str = "") -> dict[str, Any]:
    """The `messages` (newest first, as they come from the service) with the newest at the bottom, as in a chat."""
    shown = sorted(messages[:MAX_MESSAGES], key=lambda message: message.seq or 0)
    by_id = {message.id: message for message in shown}
    room = min(MAX_SECTION, MAX_TOTAL // max(1, len(shown)))
    blocks = [_section(escape(heading))]
    for message in shown:
        blocks += [_context(_whose(message, by_id)), _section(escape(message.text, room))]
    if note:
        blocks.append(_context(escape(note)))
    lines = [f"{message.author}: {message.text}" for message in shown]
    return {"text": "\n".join(escape(line, MAX_LINE) for line in [heading, *lines]), "blocks": blocks}


def _whose(message: Message, by_id: dict[str, Message]) -> str:
    """Who wrote a message, when, what it answers, and its id to reply to."""
    utc = message.created_at.astimezone(UTC)
    # Slack shows this in the time zone of whoever looks at it.
    time = f"<!date^{int(utc.timestamp())}^{{date_short_pretty}} {{time}}|{utc:%Y-%m-%d %H:%M} UTC>"
    parts = [escape(message.author, MAX_AUTHOR), time, f"`{message.id}`"]
    if message.reply_to is None:
        return " · ".join(parts)
    answered = by_id.get(message.reply_to)
    what = f"`{message.reply_to}`" if answered is None else _quote(answered)
    return f"↳ {' · '.join(parts)} · in reply to {what}"


def _quote(message: Message) -> str:
    return f"{escape(message.author, MAX_AUTHOR)}: {escape(' '.join(message.text.split()), MAX_QUOTE)}"


def _section(text: str) -> Block:
    # "verbatim" keeps Slack from looking for names and links of its own accord.
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}
