"""Stage 8, writes: under more writes than it can take, a server takes what it can, and says no to the rest."""

import json
import math
import os
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness import machine
from loadtests import open_loop
from loadtests.open_loop import OfferedRequest
from practice.check import LIMIT, Stage
from practice.concurrency import at_once
from practice.exchange import JSON, Answer, Request
from practice.expectations import includes, list_of_messages, message
from practice.server import Broken, NotAsked, Server

SECONDS = 5.0
TIMES = 5
NORMAL_SECONDS = 5.0
LOW, HIGH = 0.9, 1.1
LATENCY_SECONDS = 2.0
LATENCY_TIMES = 20
LATENCY_SHARE = 0.95
# A storm was disturbed if other programs took this share of the machine, and more than 1 answer in 100 was late.
BUSY_SHARE, UNDISTURBED_SHARE, LATE_SECONDS = 0.25, 0.99, 1.0
TRIES = 3

STAGE = Stage(
    8,
    "writes",
    task="Limit the writes: no more than WRITE_LIMIT a second, and 429 for the rest, before they cost you anything.",
    contract=f"""\
[promises]
write_limit = 50     # writes a second; your server finds it in the environment, as WRITE_LIMIT, in this stage only

curl -i localhost:8000/messages -H 'Content-Type: application/json' --data-raw '{{"text": "one too many"}}'
    429 Too Many Requests, with the header Retry-After: 1

At half of WRITE_LIMIT for some seconds, nobody is refused. At {TIMES} times WRITE_LIMIT for {SECONDS:g} s, on as many
connections as it takes, at least {LOW} of WRITE_LIMIT is admitted each second, and at most {HIGH} of it and a burst of
one second; the rest is answered with 429, and all that was admitted is stored. {LATENCY_SHARE:.0%} of the admitted are
answered within {LATENCY_SECONDS:g} s, or {LATENCY_TIMES} times what a write takes without the storm, if that is longer.
Within {NORMAL_SECONDS:g} s after the storm, writes are admitted as before. Reads are not limited.""",
    limited=True,
)
check = STAGE.check

# More reads, one after the other, than the limit would let through in a second if it counted them.
READS_TO_LIMIT = 3

CALM_SECONDS = 3.0
IDLE_SECONDS = 2.0


@dataclass(frozen=True)
class Storm:
    """What became of the writes of a storm: each with its text, and the seconds from the first to the last.

    `alone_seconds` is what a write took in the calm, `ended` when the storm was over (`time.monotonic()`), and `others`
    the share of the machine that went to other programs.
    """

    sent: list[tuple[str, OfferedRequest]]
    seconds: float
    example: Request
    alone_seconds: float
    ended: float
    others: float

    @property
    def admitted(self) -> list[tuple[str, OfferedRequest]]:
        """The writes that were answered with 2xx."""
        return [(text, each) for text, each in self.sent if 200 <= each.status < 300]

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs took so much of the machine that late and missing answers may be their doing."""
        times = [each.answered - each.begun if each.status else math.inf for _, each in self.sent]
        return self.others > BUSY_SHARE and sorted(times)[int(UNDISTURBED_SHARE * (len(times) - 1))] > LATE_SECONDS

    @property
    def admitting_seconds(self) -> float:
        """How long the server has had to admit writes.

        On a machine that others keep busy they lie unread for seconds, and who reads them late is right to admit more:
        there, until the last admitted one was answered. Elsewhere whoever answers late has let them wait.
        """
        if self.others <= BUSY_SHARE:
            return self.seconds
        return max([self.seconds, *(each.answered - self.sent[0][1].due for _, each in self.admitted)])

    def broken(self, expected: str) -> Broken:
        """What to raise: the request of the storm, how often, and how often each status came."""
        rate = len(self.sent) / self.seconds
        counts = Counter(each.status for _, each in self.sent)
        said = ", ".join(f"{status or 'no answer'}: {number} times" for status, number in sorted(counts.items()))
        asked = f"{self.example.as_curl()}   ({rate:.0f} times a second for {self.seconds:.1f} s)"
        return Broken(expected, asked=asked, answered=said)

    def slow(self, expected: str) -> Broken | NotAsked:
        """The same, for what a busy machine may do to any server: if it was busy, nothing was asked."""
        if self.is_disturbed:
            return NotAsked(f"other programs took {self.others:.0%} of this machine, {TRIES} times: try again")
        return self.broken(expected)


def calm(server: Server) -> list[Answer]:
    """Write at half the limit for some seconds; the answers, all of which must be whole.

    The pauses are between an answer and the next write: to catch up with a schedule on a busy machine would be more
    than half the limit for a moment, and a limiter that allows hardly any burst would be right to refuse it.
    """
    answers = []
    pause = 2 / server.promises.write_limit
    for number in range(round(CALM_SECONDS / pause)):
        time.sleep(pause)
        text = f"in the calm {number}"
        answers.append(server.post("/messages", {"text": text}).expect(message(text)))
    return answers


def storm(server: Server) -> Storm:
    """Write at TIMES the limit, on as many connections as it takes, whatever becomes of the answers.

    Where answers are late or do not come, and other programs keep the machine busy, nobody knows why: then again, up to
    TRIES times.
    """
    alone = statistics.median(each.ended - each.begun for each in server.once(calm))
    for _ in range(TRIES):
        time.sleep(IDLE_SECONDS)  # whatever counts the writes of the last second has forgotten them
        busy_before, ours_before, begun = machine.busy_seconds(), server.cpu_seconds(), time.monotonic()
        sent, example = _offer(server)
        cores = (os.cpu_count() or 1) * (time.monotonic() - begun)
        others = (machine.busy_seconds() - busy_before - server.cpu_seconds() + ours_before) / cores
        seen = Storm(sent, sent[-1][1].begun - sent[0][1].due, example, alone, time.monotonic(), others)
        if not seen.is_disturbed:
            break
    return seen


def _offer(server: Server) -> tuple[list[tuple[str, OfferedRequest]], Request]:
    """Send a storm; each write with its text, and what became of it, and one of the requests."""
    run, url = secrets.token_hex(2), f"{server.url}/messages"

    def text(number: int) -> str:
        return f"{run}: {number} in the storm"

    rate = TIMES * server.promises.write_limit
    offering = open_loop.offer(
        url, lambda number: _bytes(url, text(number), server.target.headers), rate, SECONDS, warmup=0
    )
    sent = open_loop.run(offering).requests
    server.wrote_at = time.monotonic()
    example = server.request("POST", url, JSON, json.dumps({"text": text(0)}).encode())
    return [(text(number), each) for number, each in enumerate(sent)], example


def _bytes(url: str, text: str, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    body = json.dumps({"text": text}).encode()
    lines = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@check(
    "writes.calm",
    "without a storm nobody is refused",
    why="a limit is for the one hour in a year, and must not be felt in the others",
    needs=LIMIT,
)
def nobody_is_refused(server: Server) -> None:
    server.once(calm)


@check(
    "writes.reads",
    "reads are not limited",
    why="who only reads takes nothing from those who write",
    needs=LIMIT,
)
def reads_are_free(server: Server) -> None:
    for _ in range(READS_TO_LIMIT * server.promises.write_limit):
        server.get("/messages?limit=1").expect(list_of_messages())


@check(
    "writes.admitted",
    "in the storm as many writes are admitted as you promised",
    why="a limiter that counts those it has refused lets nobody through when everybody comes",
    needs=LIMIT,
)
def admitted(server: Server) -> None:
    seen = server.once(storm)
    least = LOW * server.promises.write_limit * seen.seconds
    if len(seen.admitted) < least:
        raise seen.slow(f"at least {least:.0f} admitted: {LOW} of {server.promises.write_limit} a second")


@check(
    "writes.limited",
    "in the storm no more writes are admitted than you promised",
    why="the limit stands for what the disk can do: above it everybody waits",
    needs=LIMIT,
)
def limited(server: Server) -> None:
    seen, limit = server.once(storm), server.promises.write_limit
    most = HIGH * limit * seen.admitting_seconds + limit
    if len(seen.admitted) > most:
        raise seen.broken(
            f"at most {most:.0f} admitted in {seen.admitting_seconds:.1f} s: "
            f"{HIGH} of {limit} a second, and a burst of {limit}"
        )


@check(
    "writes.refused",
    "all others are answered with 429",
    why="429 says: not now, and it is not your mistake. A 503 calls the one on duty",
    needs=LIMIT,
)
def refused(server: Server) -> None:
    seen = server.once(storm)
    others = {each.status for _, each in seen.sent if each.status != 429 and not 200 <= each.status < 300}
    words = "429 for each write that is not admitted"
    if others - {open_loop.UNANSWERED}:
        raise seen.broken(words)
    if others:
        raise seen.slow(words)


@check(
    "writes.stored",
    "what was admitted in the storm is stored",
    why="a promise that was given in a hurry is one, too",
    needs=LIMIT,
)
def stored(server: Server) -> None:
    texts = [text for text, _ in server.once(storm).admitted]
    server.get("/messages?limit=1000").expect(list_of_messages(), includes(texts))


@check(
    "writes.latency",
    "in the storm, what is admitted is answered soon",
    why="whoever waits in a queue of thousands has gone when it is their turn",
    needs=LIMIT,
)
def latency(server: Server) -> None:
    seen = server.once(storm)
    times = sorted(each.answered - each.begun for _, each in seen.admitted)
    most = max(LATENCY_SECONDS, LATENCY_TIMES * seen.alone_seconds)
    if times and (took := times[int(LATENCY_SHARE * (len(times) - 1))]) > most:
        raise seen.slow(f"{LATENCY_SHARE:.0%} of the admitted answered within {most:.1f} s; it took {took:.1f} s")


@check(
    "writes.normal",
    f"within {NORMAL_SECONDS:g} s after the storm all is as before",
    why="a limiter that does not forget is an outage that does not end",
    needs=LIMIT,
)
def normal(server: Server) -> None:
    # Not before: a limiter may remember the storm until then.
    time.sleep(max(0.0, server.once(storm).ended + NORMAL_SECONDS - time.monotonic()))
    calm(server)


@check(
    "writes.retry_after",
    "a refusal says when to come again (Retry-After)",
    why="without it clients guess, and most guess: at once",
    needs=LIMIT,
    remark=True,
)
def retry_after(server: Server) -> None:
    count = min(3 * server.promises.write_limit, 200)
    for response in at_once(count, lambda number: server.post("/messages", {"text": f"all at once {number}"})):
        answer = response.answer
        if answer.status == 429 and not answer.headers.get("Retry-After", "").strip():
            raise Broken("the header Retry-After, with a number of seconds", answer)
