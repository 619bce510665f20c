"""Stage 2, messages: what is posted is stored exactly, listed newest first, and never lost once acknowledged."""

from practice.check import RESTART, Stage
from practice.concurrency import at_once
from practice.exchange import JSON, Answer
from practice.expectations import (
    Expectation,
    includes,
    list_of_messages,
    listed,
    message,
    no_breakdown,
    refusal,
    success,
    texts,
    that,
)
from practice.server import Server
from practice.writing import write_until_killed

STAGE = Stage(
    2,
    "messages",
    task="POST /messages stores a text; GET /messages?limit=N gives the newest N, newest first.",
    contract="""\
curl -s localhost:8000/messages -H 'Content-Type: application/json' --data-raw '{"text": "hello"}'
    201  {"id": 1, "text": "hello"}
curl -s 'localhost:8000/messages?limit=2'
    200  {"messages": [{"id": 2, "text": "how are you?"}, {"id": 1, "text": "hello"}]}

Any status from 200 to 299 says that it worked. An id is a number or a string, and belongs to one message for ever.
More fields than these are welcome. A text is a JSON string of 1 to 4,000 characters and comes back exactly as it was
sent. N is a number from 1 to 1000; with fewer messages, the list has all of them. Of two messages, the one that was
posted after the other was acknowledged is newer.
An acknowledged message is stored: it survives a restart, and kill -9.
A body that is no JSON object, or has no text or one that is no string, is refused with a status from 400 to 499, and
so is a limit that is no whole number above 0. Without a limit, the list has as many as you think right.
Whatever a client sends, no answer is a 5xx, and each comes within 20 seconds.""",
)
check = STAGE.check

WRITERS = 64
ALL = "/messages?limit=1000"
UNUSUAL = {
    "emoji": "🙂 👩‍👩‍👧 café naïve Ωмега 漢字 \u0065\u0301",
    "quotes": "\"double\" 'single' \\back\\slash <b>bold</b> &amp; %20 {curly} '); DROP TABLE messages; --",
    "whitespace": "  two before,\na new line,\r\nanother,\n\n\ta tab, and two behind  ",
    "long": "".join(f"{number:04}" for number in range(1000)),
}


@check("messages.stored", "a message that was posted is in the list, with its id", why="this is what it is all for")
def stored(server: Server) -> None:
    [said] = server.say("hello")
    words = f'the message "hello" with the id {said["id"]!r} first in the list'
    server.get("/messages?limit=1").expect(
        list_of_messages(), that(words, lambda answer: _same(answer.messages, [said]))
    )


@check("messages.limit", "the newest N, newest first", why="a reader who opens the page wants what was said last")
def limit(server: Server) -> None:
    server.say("first", "second", "third")
    server.get("/messages?limit=2").expect(list_of_messages(), texts(["third", "second"]))
    server.get("/messages?limit=1").expect(list_of_messages(), texts(["third"]))


@check("messages.order", "a dozen messages, newest first", why='sorted as texts, "10" comes before "9"')
def order(server: Server) -> None:
    said = [f"number {each}" for each in range(1, 13)]
    server.say(*said)
    server.get("/messages?limit=12").expect(list_of_messages(), texts(said[::-1]))


@check("messages.emoji", "letters of all scripts, and emoji, come back as they were", why="people write them")
def emoji(server: Server) -> None:
    _comes_back(server, UNUSUAL["emoji"])


@check("messages.quotes", "quotes and all that looks like code come back as they were", why="text is data, never code")
def quotes(server: Server) -> None:
    _comes_back(server, UNUSUAL["quotes"])


@check("messages.whitespace", "spaces and line breaks come back as they were", why="a poem is nothing without them")
def whitespace(server: Server) -> None:
    _comes_back(server, UNUSUAL["whitespace"])


@check("messages.long", "4,000 characters come back as they were", why="a text that is cut says something else")
def long(server: Server) -> None:
    _comes_back(server, UNUSUAL["long"])


def _comes_back(server: Server, text: str) -> None:
    server.say(text)
    server.get("/messages?limit=1").expect(list_of_messages(), texts([text]))


@check(
    "messages.at_once",
    f"{WRITERS} writers at once, and no message is lost",
    why="two that change the same list, file or number at the same time undo each other's work",
)
def written_at_once(server: Server) -> None:
    said = [f"writer {number} of {WRITERS}" for number in range(WRITERS)]
    for text, response in zip(
        said, at_once(WRITERS, lambda n: server.post("/messages", {"text": said[n]})), strict=True
    ):
        response.expect(message(text))
    server.get(ALL).expect(list_of_messages(), includes(said))


@check("messages.ids", "no two messages have the same id", why="an id that names two messages names none")
def ids(server: Server) -> None:
    for response in at_once(WRITERS, lambda n: server.post("/messages", {"text": f"one of {WRITERS}: {n}"})):
        response.expect(success())
    server.get(ALL).expect(list_of_messages(), different_ids())


def different_ids() -> Expectation:
    """A list in which each id occurs once. 1 and "1" are the same id: in an address they look alike."""

    def holds(answer: Answer) -> bool:
        found = [str(each["id"]) for each in answer.messages or []]
        return len(set(found)) == len(found)

    return that("a different id for each message", holds)


@check("messages.not_json", "a body that is not JSON is refused", why="the mistake is the client's, and it should know")
def not_json(server: Server) -> None:
    for body in (b"{'text': 'single quotes'}", b'{"text": "no end', b"", b'{"text": "\xff is no UTF-8"}'):
        server.post_bytes("/messages", body, JSON).expect(refusal("the body is not JSON"))


@check("messages.no_text", "a body without a text is refused", why="what is not there can not be stored")
def no_text(server: Server) -> None:
    for document in ({}, {"text": None}, {"text": 5}, {"text": ["a", "list"]}, ["text"], "text", None):
        server.post("/messages", document).expect(refusal("there is no text in it"))


@check(
    "messages.bad_limit", "a limit that is no number is refused", why="a 500 tells the client nothing, and wakes you"
)
def bad_limit(server: Server) -> None:
    for limit in ("ten", "-1", "", "1.5"):
        server.get(f"/messages?limit={limit}").expect(refusal("the limit is no number from 1 to 1000"))
    server.get(f"/messages?limit={10**20}").expect(no_breakdown("a limit that no machine's integer holds"))


@check(
    "messages.half_character",
    "half a character (\\ud83d alone) breaks nothing, whether it is stored or refused",
    why="JSON can hold half an emoji, which no text can: many a database driver breaks on it",
)
def half_character(server: Server) -> None:
    server.post_bytes("/messages", b'{"text": "half: \\ud83d"}', JSON).expect(
        no_breakdown("JSON that holds half an emoji")
    )
    server.get("/messages?limit=3").expect(no_breakdown("a list, after half an emoji was posted"))


@check(
    "messages.restart",
    "the messages survive a restart, in their order and with their ids",
    why="people keep the addresses of what they have read",
    needs=RESTART,
)
def restarted(server: Server) -> None:
    server.say("before the restart", "just before the restart")
    before = server.get("/messages?limit=50").expect(list_of_messages()).messages
    server.restart()
    words = "the same list as before the restart, with the same ids"
    server.get("/messages?limit=50").expect(
        list_of_messages(), that(words, lambda answer: _same(answer.messages, before))
    )


@check(
    "messages.new_ids",
    "a message after a restart gets an id that no other has",
    why="a counter that begins again at 1 gives old addresses new meanings",
    needs=RESTART,
)
def new_ids(server: Server) -> None:
    server.say("before the restart")
    server.restart()
    server.say("after the restart")
    server.get(ALL).expect(
        list_of_messages(), different_ids(), texts_first(["after the restart", "before the restart"])
    )


def texts_first(wanted: list[str]) -> Expectation:
    """A list that begins with these texts."""
    words = f"a list that begins with {listed(wanted)}"
    return that(words, lambda answer: (answer.texts or [])[: len(wanted)] == wanted)


@check(
    "messages.kill",
    "what was acknowledged is stored, also by kill -9 in the middle of writing",
    why="who was told that it is stored will not send it again",
    needs=RESTART,
)
def killed(server: Server) -> None:
    for _ in range(3):
        acknowledged = write_until_killed(server)
        server.start_again()
        server.get(ALL).expect(list_of_messages(), includes(acknowledged))


def _same(shown: list[dict[str, object]] | None, wanted: list[dict[str, object]] | None) -> bool:
    """Whether these are the same messages, by id and text."""
    return [(each["id"], each["text"]) for each in shown or []] == [(each["id"], each["text"]) for each in wanted or []]
