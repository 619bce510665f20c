"""Messages as a person reads them in a terminal: `click.echo` drops the colours when the output is piped.

The oldest is at the top and the newest at the bottom, as in a chat. A reply stands indented under what it
answers; if that is not on the page, it is quoted above the reply.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import click

from client.messages import Message

INDENT = "    "
QUOTE = 40


def threads(messages: Iterable[Message], quoted: Mapping[str, Message]) -> Iterator[str]:
    """Lines for `messages`, with replies under what they answer. `quoted` has what is answered, by id."""
    by_age = sorted(messages, key=lambda message: message.seq)
    shown = {message.id for message in by_age}
    replies: dict[str, list[Message]] = defaultdict(list)
    for message in by_age:
        if message.reply_to in shown:
            replies[message.reply_to or ""].append(message)
    pending = [(message, 0) for message in reversed(by_age) if message.reply_to not in shown]
    while pending:
        message, depth = pending.pop()
        if message.reply_to is not None and depth == 0:
            yield quote(quoted.get(message.reply_to), message.reply_to)
        yield line(message, depth + (message.reply_to is not None and depth == 0))
        pending += [(reply, depth + 1) for reply in reversed(replies[message.id])]


def line(message: Message, depth: int = 0) -> str:
    """A message on one line, with the time in the reader's own time zone and its id to reply to."""
    time = message.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    parts = [click.style(time, dim=True), click.style(_plain(message.author), bold=True), _plain(message.text)]
    return INDENT * depth + "  ".join([*parts, click.style(message.id, dim=True)])


def quote(message: Message | None, id: str) -> str:
    """What a reply answers, in short."""
    if message is None:
        return click.style(f"↳ in reply to {id}", dim=True)
    text = _plain(message.text)
    short = text if len(text) <= QUOTE else text[: QUOTE - 1] + "…"
    return click.style(f"↳ in reply to {_plain(message.author)}: {short}", dim=True)


def _plain(text: str) -> str:
    """Text that a terminal shows: control characters in it would be obeyed."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
