"""Stage 6, Slack (bonus): a slash command posts and lists messages, if it was Slack who sent it."""

import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import requests

from client import slack
from practice.check import SLACK, Stage
from practice.exchange import Answer
from practice.expectations import Expectation, lacks, list_of_messages, no_breakdown, refusal, success, texts, that
from practice.server import Broken, Response, Server

STAGE = Stage(
    6,
    "slack",
    task="Bonus: POST /slack/commands takes a slash command as Slack sends it: `send TEXT` stores, `list N` lists.",
    contract="""\
curl -s localhost:8000/slack/commands -H 'X-Slack-Request-Timestamp: 1764237600' -H 'X-Slack-Signature: v0=a2…' \\
     --data-urlencode 'command=/msg' --data-urlencode 'text=list 2' …
    200  {"text": "how are you?\\nhello"}

The body is a form; its field text has `send TEXT` or `list N`. The signature is made as Slack makes it (see "Verifying
requests from Slack", or let its library check it), with the secret in SLACK_SIGNING_SECRET, over the time and the body
as it came, byte by byte. What is not signed so, or more than 5 minutes ago, is refused with 400 to 499, and stores
nothing; what is signed is answered with 200 to 299 within 3 s.
`send TEXT` stores TEXT. `list N` answers with the texts of the newest N messages, newest first or last, as plain text
or as JSON of any shape that has them. Slack writes &, < and > as &amp; &lt; and &gt;, and wants them so: a message has
what the person typed, an answer has it escaped. Any other command is answered with less than 500.""",
)
check = STAGE.check

SECONDS = 3.0
TRIES = 3
SIX_MINUTES = 360


def command(server: Server, words: str, **other: Any) -> requests.PreparedRequest:
    """A slash command as Slack sends it, signed for this server unless `other` says otherwise."""
    settings = {"signing_secret": server.slack_signing_secret, "response_url": f"{server.url}/nowhere"}
    return slack.command(server.url, line=f"/msg {words}", path="/slack/commands", **(settings | other))


def deliver(server: Server, words: str, **other: Any) -> Response:
    """Send such a command."""
    return server.deliver(command(server, words, **other))


def strings(document: Any) -> Iterator[str]:
    """All strings in a JSON document, in their order."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for each in document.values() if isinstance(document, dict) else document:
            yield from strings(each)


def shows(wanted: list[str], hides: str = "") -> Expectation:
    """An answer in which these texts are, from the newest to the oldest or the other way, and another one is not."""

    def holds(answer: Answer) -> bool:
        text = answer.text if answer.json is None else "\n".join(strings(answer.json))
        places = [text.find(each) for each in wanted]
        return (
            answer.ok
            and -1 not in places
            and places in (sorted(places), sorted(places)[::-1])
            and not (hides and hides in text)
        )

    words = " and ".join(f'"{each}"' for each in wanted) + (f', and not "{hides}"' if hides else "")
    return that(f"an answer that shows {words}", holds)


def is_not_stored(server: Server, text: str) -> None:
    """Look whether a text that was refused is in the list."""
    server.settle()
    server.get("/messages?limit=20").expect(list_of_messages(), lacks(text))


@check("slack.send", "send TEXT stores the text", why="a command that does nothing is worse than none", needs=SLACK)
def send(server: Server) -> None:
    for quote_via in (quote_plus, quote):  # a space may be + or %20: the signature is over what came
        text = f"lunch at noon, by {quote_via.__name__}?"
        deliver(server, f"send {text}", quote_via=quote_via).expect(success())
        server.get("/messages?limit=1").expect(list_of_messages(), texts([text]))


@check("slack.list", "list N shows the newest N", why="N is what was asked for", needs=SLACK)
def listed(server: Server) -> None:
    server.say("the first one", "the second one", "the third one")
    server.settle()
    deliver(server, "list 2").expect(success(), shows(["the third one", "the second one"], hides="the first one"))


@check(
    "slack.unescaped",
    "what Slack has escaped is stored as it was typed",
    why="the client that reads it is not Slack: it would show &lt;",
    needs=SLACK,
)
def unescaped(server: Server) -> None:
    text = "a < b && c > d, and &lt; is written &amp;lt;"
    deliver(server, f"send {text}").expect(success())
    server.get("/messages?limit=1").expect(list_of_messages(), texts([text]))


@check(
    "slack.escaped",
    "what is shown in Slack is escaped",
    why="<!channel> in a message would call everybody",
    needs=SLACK,
)
def escaped(server: Server) -> None:
    server.say("hello <!channel> & all")
    server.settle()
    deliver(server, "list 1").expect(success(), shows(["hello &lt;!channel&gt; &amp; all"]))


@check("slack.other_command", "an unknown command breaks nothing", why="people type what they like", needs=SLACK)
def other_command(server: Server) -> None:
    for words in ("dance", "list many", "list", "send", ""):
        deliver(server, words).expect(no_breakdown("a command that there is not"))


@check("slack.unsigned", "without a signature nothing is stored", why="anybody can send a form", needs=SLACK)
def unsigned(server: Server) -> None:
    for signature in (None, "v0=nonsense", "v0=" + "0" * 64):
        text = f"from anybody {secrets.token_hex(2)}"
        prepared = command(server, f"send {text}")
        del prepared.headers["X-Slack-Signature"]
        if signature is not None:
            prepared.headers["X-Slack-Signature"] = signature
        server.deliver(prepared).expect(refusal("this is not signed by Slack"))
        is_not_stored(server, text)


@check(
    "slack.other_secret",
    "a signature with another secret is refused",
    why="anybody can sign with a secret of their own",
    needs=SLACK,
)
def other_secret(server: Server) -> None:
    deliver(server, "send with my own secret", signing_secret="0" * 32).expect(refusal("signed with another secret"))
    is_not_stored(server, "with my own secret")


@check(
    "slack.other_body",
    "a command that was changed on its way is refused",
    why="the signature is one of these very bytes",
    needs=SLACK,
)
def other_body(server: Server) -> None:
    prepared = command(server, "send 100 euros")
    assert isinstance(prepared.body, bytes)
    prepared.body = prepared.body.replace(b"100", b"999")
    server.deliver(prepared).expect(refusal("the text was changed after it was signed"))
    is_not_stored(server, "999 euros")


@check(
    "slack.old",
    "what was signed 6 minutes ago is refused",
    why="a request that somebody recorded must not work for ever",
    needs=SLACK,
)
def too_old(server: Server) -> None:
    deliver(server, "send yesterday's news", at=time.time() - SIX_MINUTES).expect(refusal("signed 6 minutes ago"))
    is_not_stored(server, "yesterday's news")


@check(
    "slack.bad_time",
    "a time that is no number is refused",
    why="Slack's own library raises an error for it, and an error that nobody catches is a 500",
    needs=SLACK,
)
def bad_time(server: Server) -> None:
    prepared = command(server, "send when?")
    prepared.headers["X-Slack-Request-Timestamp"] = "noon"
    server.deliver(prepared).expect(refusal("the time of the signature is no number"))


@check(
    "slack.quick",
    "a command is answered within 3 s",
    why="Slack tells the user after 3 s that the command failed",
    needs=SLACK,
)
def quick(server: Server) -> None:
    for number in range(TRIES):
        answer = deliver(server, f"send quickly {number}").expect(success())
        if answer.ended - answer.begun <= SECONDS:
            return
    took = answer.ended - answer.begun
    raise Broken(f"an answer within {SECONDS:g} s, once in {TRIES} tries; the last took {took:.1f} s", answer)
