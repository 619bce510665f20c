"""Stage 5, Twilio: a text to a phone number becomes a message, if it was Twilio who sent it."""

import secrets
from typing import Any

import requests

from client import sms
from practice.check import TWILIO, Stage
from practice.expectations import lacks, list_of_messages, no_breakdown, refusal, success, texts, that
from practice.server import Broken, Response, Server

STAGE = Stage(
    5,
    "twilio",
    task="POST /sms takes what Twilio sends when somebody texts your number; the text becomes a message.",
    contract="""\
curl -s localhost:8000/sms -H 'X-Twilio-Signature: wWy…=' --data-urlencode 'From=+15005550006' \\
     --data-urlencode 'Body=on my way' --data-urlencode 'MessageSid=SM1f…' …
    200  <Response/>

The body is a form (application/x-www-form-urlencoded). Body is the text, MessageSid names the text, and there are many
fields more, some of them blank. The signature is made as Twilio makes it (see "Security" in its documentation, or let
its library check it), with the token in TWILIO_AUTH_TOKEN, over the public address of your server, PUBLIC_BASE_URL
+ "/sms", and all fields. Both are in your server's environment. The public address is another one than that
on which your server listens, as behind a proxy, and it has a port.
What Twilio signed is answered with 200 to 299 and stored, with its text exactly as it was. All else is refused
with 400 to 499, and not stored. A text without words (a picture) breaks nothing: it is stored or not.
Twilio sends a text again if it is not sure that it arrived: the same MessageSid twice is one message.""",
)
check = STAGE.check

SENDER = "+15005550006"


def text_message(server: Server, text: str, **other: Any) -> requests.PreparedRequest:
    """A text as Twilio sends it, signed for this server unless `other` says otherwise: see `client.sms.signed`."""
    settings = {"auth_token": server.twilio_auth_token, "public_base_url": server.public_base_url, "path": "/sms"}
    return sms.signed(server.url, sender=SENDER, text=text, **(settings | other))


def deliver(server: Server, text: str, **other: Any) -> Response:
    """Send such a text."""
    return server.deliver(text_message(server, text, **other))


def is_not_stored(server: Server, text: str) -> None:
    """Look whether a text that was refused is in the list."""
    server.settle()
    server.get("/messages?limit=20").expect(list_of_messages(), lacks(text))


@check("twilio.signed", "a text from Twilio is stored", why="somebody has written to you", needs=TWILIO)
def signed(server: Server) -> None:
    deliver(server, "on my way").expect(success())
    server.get("/messages?limit=1").expect(list_of_messages(), texts(["on my way"]))


@check(
    "twilio.characters",
    "a plus, an ampersand, emoji and line breaks come through",
    why="a form writes a space as +, and a + as %2B: decoded once too often or not at all, the text is another one",
    needs=TWILIO,
)
def characters(server: Server) -> None:
    text = " 1 + 1 = 2 & 100 % sure? #yes\nsecond line 🙂 é "
    deliver(server, text).expect(success())
    server.get("/messages?limit=1").expect(list_of_messages(), texts([text]))


@check(
    "twilio.blank_fields",
    "fields that are blank are signed, too",
    why="Twilio sends FromCity= without a value: most libraries for forms drop it, and the signature no longer fits",
    needs=TWILIO,
)
def blank_fields(server: Server) -> None:
    deliver(server, "from nowhere", fields={"FromCity": "", "FromState": ""}).expect(success())
    server.get("/messages?limit=1").expect(list_of_messages(), texts(["from nowhere"]))


@check("twilio.empty", "a text without words breaks nothing", why="it may be a picture", needs=TWILIO)
def empty(server: Server) -> None:
    deliver(server, "", media=["https://api.twilio.example/picture"]).expect(no_breakdown("a picture without words"))


@check("twilio.unsigned", "without a signature nothing is stored", why="anybody can send a form", needs=TWILIO)
def unsigned(server: Server) -> None:
    for signature in (None, "", "nonsense"):
        text = f"from anybody {secrets.token_hex(2)}"
        prepared = text_message(server, text)
        del prepared.headers["X-Twilio-Signature"]
        if signature is not None:
            prepared.headers["X-Twilio-Signature"] = signature
        server.deliver(prepared).expect(refusal("this is not signed by Twilio"))
        is_not_stored(server, text)


@check(
    "twilio.other_text",
    "a text that was changed on its way is not stored",
    why="the signature says what was written, not only that something was",
    needs=TWILIO,
)
def other_text(server: Server) -> None:
    prepared = text_message(server, "send 100 euros")
    prepared.body = str(prepared.body).replace("100", "999")
    server.deliver(prepared).expect(refusal("the text was changed after it was signed"))
    is_not_stored(server, "send 999 euros")


@check(
    "twilio.other_token",
    "a signature with another token is refused",
    why="anybody can sign with a token of their own",
    needs=TWILIO,
)
def other_token(server: Server) -> None:
    deliver(server, "with my own token", auth_token="0" * 32).expect(refusal("this is signed with another token"))
    is_not_stored(server, "with my own token")


@check(
    "twilio.other_address",
    "what was signed for another address is refused",
    why="a text to somebody else's number, sent on to your server, is none to you",
    needs=TWILIO,
)
def other_address(server: Server) -> None:
    deliver(server, "for somebody else", public_base_url="https://somebody-else.example").expect(
        refusal("this is signed for https://somebody-else.example/sms")
    )
    is_not_stored(server, "for somebody else")


@check(
    "twilio.once",
    "the same MessageSid twice is one message",
    why="Twilio sends a text again when your answer came late",
    needs=TWILIO,
    remark=True,
)
def once(server: Server) -> None:
    sid = f"SM{secrets.token_hex(16)}"
    for _ in range(2):
        deliver(server, "only once", sid=sid).expect(success())
    server.settle()
    words = 'the text "only once" in the list, once'
    server.get("/messages?limit=5").expect(
        list_of_messages(), that(words, lambda answer: (answer.texts or []).count("only once") == 1)
    )


@check(
    "twilio.answer",
    "the answer is no text that Twilio would send back",
    why="what is answered as text/plain is sent to the phone, and costs money",
    needs=TWILIO,
    remark=True,
)
def answer(server: Server) -> None:
    found = deliver(server, "thanks").expect(success())
    kind = found.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if found.body and kind not in {"text/xml", "application/xml"}:
        raise Broken("an empty body, or the Content-Type text/xml (TwiML, such as <Response/>)", found)
