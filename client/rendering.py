"""Format messages for a terminal, with colours, which `click.echo` removes when the output is not a terminal.

The oldest message is at the top. A reply is indented under its parent, the message that it replies to; a parent that
is not listed is quoted above the reply.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import click

from client.messages import Message

INDENT = "    "
MAX_DEPTH = 8  # of indentation; below it a reply names what it replies to
# They join letters and emoji to what is meant, and move nothing.
JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
QUOTE = 40


def threads(messages: Iterable[Message], parents: Mapping[str, Message]) -> Iterator[str]:
    """Yield the lines that show `messages` as threads; `parents` has further messages to quote, by id."""
    by_age = sorted(messages, key=lambda message: message.seq)
    shown = {message.id for message in by_age}
    by_id = {**parents, **{message.id: message for message in by_age}}
    replies: dict[str, list[Message]] = defaultdict(list)
    for message in by_age:
        if message.reply_to in shown:
            replies[message.reply_to or ""].append(message)
    pending = [(message, 0) for message in reversed(by_age) if message.reply_to not in shown]
    while pending:
        message, depth = pending.pop()
        if message.reply_to is not None and (depth == 0 or depth > MAX_DEPTH):
            yield quote(by_id.get(message.reply_to), message.reply_to, min(depth, MAX_DEPTH))
        yield line(message, min(depth, MAX_DEPTH) + (message.reply_to is not None and depth == 0))
        pending += [(reply, depth + 1) for reply in reversed(replies[message.id])]


def line(message: Message, depth: int = 0) -> str:
    """Format a message as one line: local time, author, text and id; indented by `depth` levels."""
    time = message.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    parts = [click.style(time, dim=True), click.style(_plain(message.author), bold=True), _plain(message.text)]
    return INDENT * depth + "  ".join([*parts, click.style(message.id, dim=True)])


def quote(message: Message | None, id: str, depth: int = 0) -> str:
    """Format the line above a reply that quotes its parent `message`, or names its `id` if the message is None."""
    indent = INDENT * depth
    if message is None:
        return indent + click.style(f"↳ in reply to {id}", dim=True)
    text = _plain(message.text)
    short = text if len(text) <= QUOTE else text[: QUOTE - 1] + "…"
    return indent + click.style(f"↳ in reply to {_plain(message.author)}: {short}", dim=True)


def _plain(text: str) -> str:
    """Escape what a terminal would execute, and what turns a line round; keep what makes up letters and emoji."""
    return "".join(each if _is_harmless(each) else repr(each)[1:-1] for each in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in JOINERS or unicodedata.category(character) == "Zs"
