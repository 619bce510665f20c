"""Stage 7, reads: a cache, if you like, and nobody who reads is told less than was promised."""

import itertools
import math
import secrets
import time
from dataclasses import dataclass

from practice import histories
from practice.check import Stage
from practice.concurrency import at_once
from practice.exchange import Answer
from practice.expectations import list_of_messages, message, quoted, texts
from practice.histories import Read, Violation, Wrote
from practice.server import Broken, Response, Server

STAGE = Stage(
    7,
    "reads",
    task="Make reading fast, with a cache if you like, and say in practice.toml how old a list may be.",
    contract="""\
[promises]
stale_ms = 500     # how old a list may be, after a message was acknowledged; 0: every list has all

Four clients write and four read lists of different lengths, for some seconds, all at once. No list may lack
a message that was acknowledged more than stale_ms (and a quarter of a second, if it is not 0) before it was asked for;
none may leave out one and show newer ones, show one twice, show an older one before a newer one, or one that is
not stored. Of two messages the one that was posted after the other was acknowledged is newer; two that were posted
at the same time may stand in any order.""",
)
check = STAGE.check

WRITERS, READERS = 4, 4
SECONDS = 4.0
MESSAGES_EACH = 120
LIMITS = (1, 5, 20, 100)
LENGTHS = (3, 1, 5, 2)
PAUSE_SECONDS = 0.004
# After so many messages the writers rest until the clock's next whole so many seconds, all of them at the same time.
AT_A_TIME, REST_SECONDS = 6, 0.15


@dataclass(frozen=True)
class History:
    """What four writers and four readers were answered, and what is wrong with it, by its kind."""

    answers: list[Response]
    found: dict[str, list[tuple[Violation, Answer | None]]]
    writes: dict[str, Wrote]


def history(server: Server) -> History:
    """Write and read from all sides, and look for what should not be."""
    run = secrets.token_hex(2)
    before = server.get("/messages?limit=1000").expect(list_of_messages()).texts or []
    ends = time.monotonic() + SECONDS

    def write(writer: int) -> list[Response]:
        responses = []
        for number in range(MESSAGES_EACH):
            if time.monotonic() > ends:
                break
            responses.append(server.post("/messages", {"text": f"{run}: {number} of writer {writer}"}))
            # What a cache keeps that is wrong, the next write may put right: it is seen while nobody writes.
            rests = (number + 1) % AT_A_TIME == 0
            time.sleep(REST_SECONDS - time.monotonic() % REST_SECONDS if rests else PAUSE_SECONDS)
        return responses

    def read(reader: int) -> list[Response]:
        responses = []
        # Two at a time ask for the same list at about the same moment: what they do to a cache together shows, too.
        first = reader // 2 * 2 % len(LIMITS)
        for limit in itertools.cycle(LIMITS[first:] + LIMITS[:first]):
            if time.monotonic() > ends:
                break
            responses.append(server.get(f"/messages?limit={limit}"))
            time.sleep(PAUSE_SECONDS)
        return responses

    done = at_once(WRITERS + READERS, lambda number: write(number) if number < WRITERS else read(number))
    server.settle()
    stored = server.get("/messages?limit=1000").expect(list_of_messages()).texts or []
    responses = list(itertools.chain(*done))
    writes = {each.text: each for each in map(_wrote, itertools.chain(*done[:WRITERS]))}
    reads = {
        Read(each.answer.begun, _limit(each), tuple(each.answer.texts)): each.answer
        for each in itertools.chain(*done[WRITERS:])
        if each.answer.texts is not None
    }
    found: dict[str, list[tuple[Violation, Answer | None]]] = {}
    for each in histories.violations(
        writes.values(), reads, stored, fresh_seconds=server.stale_seconds, from_before=before
    ):
        found.setdefault(each.kind, []).append((each, reads.get(each.read) if each.read else None))
    return History(responses, found, writes)


def _wrote(response: Response) -> Wrote:
    answer = response.answer
    text = str(answer.request.document()["text"])
    is_acknowledged = answer.ok and answer.message is not None
    return Wrote(text, answer.begun, answer.ended if is_acknowledged else math.inf)


def _limit(response: Response) -> int:
    return int(response.answer.request.url.rpartition("=")[2])


def none_of(server: Server, kind: str, words: str) -> None:
    """See that the history has no violation of this kind. `words` say what was expected of `{text}`."""
    seen = server.once(history)
    for violation, answer in seen.found.get(kind, []):
        wrote = seen.writes.get(violation.text)
        ago = f"{(answer.begun - wrote.end) * 1000:.0f} ms" if answer and wrote else "long"
        said = words.replace("{text}", quoted(violation.text)).replace("{ago}", ago)
        raise Broken(said, answer, asked="curl -s '" + server.url + "/messages?limit=1000'", answered="it is not there")


@check(
    "reads.own",
    "who has written a message reads it, in a list of any length",
    why="who does not see what they have just written writes it again",
)
def own(server: Server) -> None:
    for number in range(3):
        for limit in LENGTHS:
            server.get(f"/messages?limit={limit}").expect(list_of_messages())
        said = [f"{each} of {max(LENGTHS)}, round {number}" for each in range(1, max(LENGTHS) + 1)]
        server.say(*said)
        for limit in LENGTHS:
            server.get(f"/messages?limit={limit}").expect(list_of_messages(), texts(said[::-1][:limit]))


@check("reads.answered", "while others write, every read and every write is answered", why="busy is no excuse")
def answered(server: Server) -> None:
    for response in server.once(history).answers:
        if response.answer.request.method == "GET":
            response.expect(list_of_messages())
        else:
            response.expect(message(str(response.answer.request.document()["text"])))


@check(
    "reads.fresh",
    "while others write, no list is older than you promised",
    why="what was acknowledged exists: a list without it is a lie, if nobody said that it may be old",
)
def fresh(server: Server) -> None:
    promise = f"stale_ms = {server.promises.stale_ms}"
    none_of(server, "stale", f"{{text}} in the list, or newer ones: it was acknowledged {{ago}} before ({promise})")


@check(
    "reads.whole",
    "while others write, no list leaves a message out",
    why="whoever has read the newer ones will not look for it again",
)
def whole(server: Server) -> None:
    none_of(
        server, "hole", "{text} in the list: it shows newer ones, and was asked for {ago} after that was acknowledged"
    )


@check("reads.once", "while others write, no list shows a message twice", why="a cache and a database were added up")
def once(server: Server) -> None:
    none_of(server, "double", "{text} once in the list")


@check("reads.order", "while others write, every list is newest first", why="answers stand before their questions else")
def order(server: Server) -> None:
    none_of(server, "disorder", "{text} behind all messages that were posted after it had been acknowledged")


@check(
    "reads.stored",
    "all that was acknowledged is stored, and all that was shown",
    why="a cache is a copy, and not the place where messages are",
)
def stored(server: Server) -> None:
    none_of(server, "lost", "{text} in the list: it was acknowledged")
    none_of(server, "phantom", "no {text} in the list: nobody will find it again, for it is not stored")
