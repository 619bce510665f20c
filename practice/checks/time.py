"""Stage 3, time: every message knows when it was created, and the data from before that is brought along."""

import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from practice.before import migrate_and_start, old
from practice.before import migrated as migrated_server
from practice.check import BEFORE, RESTART, Stage
from practice.exchange import Answer
from practice.expectations import (
    Expectation,
    includes,
    lacks,
    list_of_messages,
    message,
    refusal,
    texts,
    that,
)
from practice.server import Broken, Server

STAGE = Stage(
    3,
    "time",
    task="Each message gets created_at; GET /messages?since=T gives those created at T or later. Old data comes along.",
    contract="""\
curl -s localhost:8000/messages -H 'Content-Type: application/json' --data-raw '{"text": "hello"}'
    201  {"id": 7, "text": "hello", "created_at": "2026-11-27T10:00:00.123Z"}
curl -s 'localhost:8000/messages?since=2026-11-27T10:00:00.123Z&limit=100'
    200  {"messages": [{"id": 7, "text": "hello", "created_at": "2026-11-27T10:00:00.123Z"}]}
curl -s 'localhost:8000/messages?since=2026-11-27T15:45:00.123%2B05:45&limit=100'
    200  the same: it is the same moment

created_at is an RFC 3339 time with its offset, Z or such as +01:00; in the answer to the POST, in lists, and for
ever the same. T is such a time as well, as fine as the client likes; messages created at T itself are included. Lists
are newest first, with a limit or without. A since that is no time, or has no offset, is refused with 400 to 499.
While this stage is checked your server runs in the time zone Asia/Kathmandu (TZ in its environment).

The server that you had after stage 2 has data. In practice.toml you say where that server is, as a tag of your git
repository or a folder; the lab runs it, posts messages, stops it, and starts your new server on the same {data}:
    [stages.time]
    before = "git:stage-2"
    migrate = "python migrate.py --data {data}"   # if the new server does not do it when it starts
All messages are there afterwards, with their ids and in their order. The created_at of old ones may be null if you do
not know it; do not invent one. To migrate may be done twice, also when new messages have been posted since, and it may
be killed in between and begun again.""",
    environment={"TZ": "Asia/Kathmandu"},
)
check = STAGE.check

RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?)([Zz]|[+-]\d\d:\d\d)")
MINUTE = timedelta(minutes=1)
NEPAL, PACIFIC = timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=8))
AT_ONCE, ROUNDS = 24, 5
TICK_SECONDS = 3.0


def instant(value: Any) -> datetime | None:
    """The moment that an RFC 3339 time names; None if it is none."""
    found = RFC_3339.fullmatch(value) if isinstance(value, str) else None
    try:
        return datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3].upper()}") if found else None
    except ValueError:
        return None


def has_time() -> Expectation:
    """A message with a created_at."""
    words = 'a "created_at" such as "2026-11-27T10:00:00.123Z": RFC 3339, with its offset'
    return that(words, lambda answer: instant(answer.json.get("created_at")) is not None)


def say(server: Server, text: str) -> tuple[str, datetime]:
    """Post a message; its created_at, as it was written and as a moment."""
    document = server.post("/messages", {"text": text}).expect(message(text), has_time()).json
    return document["created_at"], instant(document["created_at"]) or datetime.min


def since(server: Server, moment: str, *expectations: Expectation, limit: int = 1000) -> None:
    """Ask for the messages since `moment`, written as it is to be sent."""
    server.get(f"/messages?since={quote(moment)}&limit={limit}").expect(list_of_messages(), *expectations)


def earlier_and_later(server: Server) -> tuple[str, datetime]:
    """Post "earlier", and "later" in another moment, however coarse the server's clock is; when later was."""
    _, first = say(server, "earlier")
    deadline = time.monotonic() + TICK_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.002)
        written, moment = say(server, "later")
        if moment > first:
            return written, moment
    words = f"a later created_at than {TICK_SECONDS:g} s ago: time goes on"
    raise Broken(words, server.last)


@check("time.created_at", "a message tells when it was created", why="readers want to know what is new")
def created_at(server: Server) -> None:
    written, _ = say(server, "what time is it?")
    words = f'the same "created_at" as in the answer to the POST, {written}'
    server.get("/messages?limit=1").expect(
        list_of_messages(), texts(["what time is it?"]), that(words, lambda answer: _times(answer) == [written])
    )


@check("time.now", "created_at is now, in whatever time zone the server runs", why="10:15 in Nepal is 04:30 UTC")
def now(server: Server) -> None:
    asked = datetime.now(UTC)
    words = (
        f"a created_at within a minute of {asked:%Y-%m-%dT%H:%M:%SZ}; the server's time zone is Asia/Kathmandu, +05:45"
    )
    server.post("/messages", {"text": "now"}).expect(
        message("now"),
        has_time(),
        that(words, lambda answer: abs((instant(answer.json["created_at"]) or asked + 2 * MINUTE) - asked) <= MINUTE),
    )


@check("time.since", "since leaves out what is older", why="a reader who comes back wants only what is new")
def left_out(server: Server) -> None:
    written, _ = earlier_and_later(server)
    since(server, written, lacks("earlier"))
    since(server, "2100-01-01T00:00:00Z", texts([]))


@check("time.inclusive", "since includes the moment itself", why="of two messages of one moment, one would be missed")
def inclusive(server: Server) -> None:
    written, _ = earlier_and_later(server)
    words = f'"later", which was created at {written} itself'
    since(server, written, that(words, lambda answer: answer.texts == ["later"]), limit=1)


@check("time.limit", "since and limit work together, newest first", why="what is new may be much")
def with_limit(server: Server) -> None:
    written, _ = say(server, "one")
    for text in ("two", "three"):
        say(server, text)
    since(server, written, texts(["three", "two"]), limit=2)


@check("time.offsets", "the same moment in other time zones gives the same list", why="readers are everywhere")
def offsets(server: Server) -> None:
    _, moment = earlier_and_later(server)
    for zone in (NEPAL, PACIFIC, UTC):
        since(server, moment.astimezone(zone).isoformat(), lacks("earlier"), texts_first("later"))


@check(
    "time.fractions",
    "a moment may be written with a fraction of a second, or without",
    why='compared as texts, "10:00:00.5Z" comes before "10:00:00Z"',
)
def fractions(server: Server) -> None:
    _, moment = say(server, "within this second")
    whole = moment.astimezone(UTC).replace(microsecond=0)
    since(server, f"{whole:%Y-%m-%dT%H:%M:%SZ}", texts_first("within this second"))
    since(server, f"{whole:%Y-%m-%dT%H:%M:%S}.000000Z", texts_first("within this second"))
    since(server, f"{whole + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}", lacks("within this second"))


@check(
    "time.same_moment",
    "of messages created at almost the same moment, none is missed and none too much",
    why="many messages share a millisecond, when many people write",
)
def same_moment(server: Server) -> None:
    for number in range(ROUNDS):
        said = [f"at the same moment {number}-{each}" for each in range(AT_ONCE)]
        responses = server.say_together(said)
        moments = {
            text: _moment(response.expect(message(text), has_time()))
            for text, response in zip(said, responses, strict=True)
        }
        for moment in sorted(set(moments.values()))[:: AT_ONCE // 6]:
            wanted = [text for text in said if moments[text] >= moment]
            others = [lacks(text) for text in said if moments[text] < moment]
            since(server, moment.astimezone(UTC).isoformat(), includes(wanted), *others)
        if len(set(moments.values())) < AT_ONCE:
            return  # some did share a moment, as was wanted


@check(
    "time.bad_since", "a since that is no time is refused", why="a list of everything is no answer to a typing error"
)
def bad_since(server: Server) -> None:
    for moment in ("yesterday", "2026-13-45T00:00:00Z", ""):
        server.get(f"/messages?since={moment}&limit=10").expect(refusal("this is no time"))
    server.get("/messages?since=2026-11-27T10:00:00&limit=10").expect(refusal("a time without an offset is no moment"))


@check(
    "time.restart",
    "created_at stays the same after a restart",
    why="a time that is found out when the data is read is that of the reading",
    needs=RESTART,
)
def restarted(server: Server) -> None:
    written, _ = say(server, "before the restart")
    server.restart()
    words = f'"before the restart" with the created_at {written}'
    server.get("/messages?limit=1").expect(list_of_messages(), that(words, lambda answer: _times(answer) == [written]))


@check(
    "time.migrated",
    "all messages of the version before are there, with their ids",
    why="people's data is worth more than your server",
    needs=BEFORE,
)
def migrated(server: Server) -> None:
    with migrated_server(server, "migrated") as new:
        new.get("/messages?limit=1000").expect(list_of_messages(), all_of(server))


@check(
    "time.old_order",
    "old messages keep their order, and new ones come before them",
    why="a conversation in another order is another conversation",
    needs=BEFORE,
)
def old_order(server: Server) -> None:
    wanted = [each["text"] for each in server.once(old).messages]
    with migrated_server(server, "old-order") as new:
        new.say("the first new one")
        new.get("/messages?limit=1000").expect(list_of_messages(), texts(["the first new one", *wanted]))


@check(
    "time.migrated_twice",
    "migrated twice is migrated once",
    why="whoever does not know whether it was done will do it again",
    needs=BEFORE,
)
def migrated_twice(server: Server) -> None:
    with migrated_server(server, "migrated-twice") as new:
        new.say("said between the two")
        new.stop()
        migrate_and_start(new)
        new.get("/messages?limit=1000").expect(
            list_of_messages(), includes(["said between the two"]), all_of(server, besides=1)
        )


@check(
    "time.migration_killed",
    "a migration that was killed is begun again, and loses nothing",
    why="the larger the data, the longer it takes, and the likelier something comes between",
    needs=BEFORE,
)
def migration_killed(server: Server) -> None:
    for change in (1, 2, 3, 5):
        with migrated_server(server, "migration-killed", killed_at=change) as new:
            new.get("/messages?limit=1000").expect(list_of_messages(), all_of(server))


@check(
    "time.invented",
    "old messages do not claim to be new",
    why="the time of the migration is not the time of the message: null is honest, and so is a time that you know",
    needs=BEFORE,
    remark=True,
)
def invented(server: Server) -> None:
    left = server.once(old)
    words = f"a created_at before {left.stopped.isoformat()}, when the old server was stopped, or null"

    def honest(answer: Answer) -> bool:
        moments = [instant(each.get("created_at")) for each in answer.messages or []]
        return all(moment is None or moment <= left.stopped for moment in moments)

    time.sleep(1)  # so that the time of the migration is another one, also in whole seconds
    with migrated_server(server, "invented") as new:
        new.get("/messages?limit=5").expect(list_of_messages(), that(words, honest))


def all_of(server: Server, besides: int = 0) -> Expectation:
    """A list of the messages that the old server had, each once, with its id and text, and so many new ones."""
    wanted = sorted((str(each["id"]), each["text"]) for each in server.once(old).messages)

    def holds(answer: Answer) -> bool:
        shown = sorted((str(each["id"]), each["text"]) for each in answer.messages or [])
        return len(shown) == len(wanted) + besides and set(wanted) <= set(shown)

    words = f"the {len(wanted)} messages that the version before had, each once, with its id and text"
    return that(words + (f", and {besides} new" if besides else ""), holds)


def texts_first(text: str) -> Expectation:
    """A list that begins with this text."""
    return that(f'"{text}" first in the list', lambda answer: (answer.texts or [""])[:1] == [text])


def _times(answer: Answer) -> list[Any]:
    return [each.get("created_at") for each in answer.messages or []]


def _moment(answer: Answer) -> datetime:
    return instant(answer.json["created_at"]) or datetime.min.replace(tzinfo=UTC)
