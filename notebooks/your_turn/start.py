"""The tasks of notebook 00: a reply, and a message that is refused."""

from typing import Any

from client import Message, MessageClient, Refused
from notebooks.your_turn.verdict import Verdict, not_yet, right, task


@task("client.reply(message.id, TEXT, author=NAME) sends a reply and returns it")
def replies(reply: Message, message: Message) -> Verdict:
    """Whether `reply` answers `message`, and says who wrote it."""
    if reply.reply_to is None:
        return not_yet("this is a message of its own", "client.send answers nothing; client.reply takes an id first")
    if reply.reply_to != message.id:
        return not_yet("this answers another message", "the id to answer is message.id")
    if reply.author == "anonymous":
        return not_yet("nobody knows who has answered", "name the author, as client.send does above")
    return right(f"{reply.author} has answered")


@task('a text in quotation marks, such as "hello"')
def refused(text: Any, client: MessageClient) -> Verdict:
    """Whether the service refuses to store `text`."""
    try:
        stored = client.send(text)
    except Refused as refusal:
        return right(f"refused with status {refusal.status}: {refusal}")
    hint = "a text has 1 to 4000 characters; which text of one character says nothing?"
    return not_yet(f"it was stored as message {stored.seq}", hint)
