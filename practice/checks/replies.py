"""Stage 4, replies (bonus): a message may answer another one, and both are found together."""

from typing import Any

from practice.check import RESTART, Stage
from practice.exchange import Answer, list_of_messages
from practice.expectations import Expectation, field, message, refusal, success, that
from practice.server import Server

STAGE = Stage(
    4,
    "replies",
    task="Bonus: a message may be a reply to another one; GET /messages/{id} gives a message with its replies.",
    contract="""\
curl -s localhost:8000/messages -H 'Content-Type: application/json' --data-raw '{"text": "fine!", "reply_to": 2}'
    201  {"id": 3, "text": "fine!", "reply_to": 2}
curl -s localhost:8000/messages/2
    200  {"id": 2, "text": "how are you?", "replies": [{"id": 3, "text": "fine!"}]}

reply_to has the id of the parent as your server gave it, a number or a string. replies are those to this very message,
oldest first, [] if there are none; they survive a restart. Replies to a message that there is not are refused with 400
to 499, and so is GET /messages/{id} with an id that there is not.""",
)
check = STAGE.check


def reply(server: Server, text: str, parent: dict[str, Any]) -> dict[str, Any]:
    """Post a reply to `parent`; the message as it was answered."""
    document = {"text": text, "reply_to": parent["id"]}
    found: dict[str, Any] = server.post("/messages", document).expect(message(text)).json
    return found


def has_replies(wanted: list[str]) -> Expectation:
    """A message whose replies have these texts, oldest first."""
    words = f'"replies", a list of messages with the texts {wanted}, in this order, oldest first'

    def holds(answer: Answer) -> bool:
        replies = list_of_messages(answer.json, "replies")
        return replies is not None and [each["text"] for each in replies] == wanted

    return that(words, holds)


def unknown_id(known: Any) -> Any:
    """An id that looks like `known`, and that no message has."""
    if isinstance(known, int):
        return known + 1_000_000
    return (
        str(int(known) + 1_000_000) if known.isdecimal() else "".join("0" if each.isalnum() else each for each in known)
    )


@check("replies.reply", "a reply says what it replies to", why="a reader wants to know what is meant")
def replies_to(server: Server) -> None:
    [parent] = server.say("how are you?")
    server.post("/messages", {"text": "fine!", "reply_to": parent["id"]}).expect(
        message("fine!"), field("reply_to", parent["id"])
    )


@check("replies.thread", "a message is found by its id, with its replies", why="a conversation is read as a whole")
def thread(server: Server) -> None:
    [parent, other] = server.say("how are you?", "and you?")
    reply(server, "fine!", parent)
    reply(server, "well!", other)
    server.get(f"/messages/{parent['id']}").expect(message("how are you?"), has_replies(["fine!"]))


@check("replies.order", "a dozen replies, oldest first", why="an answer comes after its question")
def order(server: Server) -> None:
    [parent] = server.say("count!")
    said = [f"{number}!" for number in range(1, 13)]
    for text in said:
        reply(server, text, parent)
    server.get(f"/messages/{parent['id']}").expect(message("count!"), has_replies(said))


@check(
    "replies.none", "without replies the list is empty", why="no list and an empty list are two cases for every client"
)
def none(server: Server) -> None:
    [parent] = server.say("anybody there?")
    server.get(f"/messages/{parent['id']}").expect(message("anybody there?"), has_replies([]))


@check("replies.unknown_parent", "a reply to nothing is refused", why="it would never be found again")
def unknown_parent(server: Server) -> None:
    [said] = server.say("somebody")
    document = {"text": "to nobody", "reply_to": unknown_id(said["id"])}
    server.post("/messages", document).expect(refusal("there is no such message"))


@check("replies.unknown_message", "a message that there is not is not found", why="404 is an answer, too")
def unknown_message(server: Server) -> None:
    [said] = server.say("somebody")
    server.get(f"/messages/{unknown_id(said['id'])}").expect(refusal("there is no such message"))
    server.get("/messages/nonsense").expect(refusal("there is no such message"))


@check("replies.restart", "replies survive a restart", why="what is kept in memory only is not kept", needs=RESTART)
def restarted(server: Server) -> None:
    [parent] = server.say("still there?")
    reply(server, "yes", parent)
    server.restart()
    server.get(f"/messages/{parent['id']}").expect(success(), message("still there?"), has_replies(["yes"]))
