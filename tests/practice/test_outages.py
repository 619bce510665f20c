"""The checkers of what clients saw during faults, on histories written by hand: each finds its kind, and no other."""

import asyncio
from pathlib import Path

import pytest

from harness.ports import LOOPBACK, free_port
from harness.servers import Server
from migrations.database import Database
from practice.outages import background, charts, history
from practice.outages import stored as database
from practice.outages.callers import Caller, Traffic
from practice.outages.checks import CHECKERS, findings, longest_gap
from practice.outages.connection import Connection, Unanswered
from practice.outages.history import Fault, Followed, Listed, Noted, Post, Record, Recorder, Stored, Walked

FRESH_SECONDS = 1.0


def posted(
    text: str, seq: int, at: float, outcome: str = "acknowledged", ms: int | None = None, who: str = "w"
) -> Post:
    """A message that was posted at `at` and answered half a second later; its time is `ms`, its number if left out."""
    return Post(who, "s", at, at + 0.5, outcome, text, seq, time(seq if ms is None else ms))


def time(ms: int) -> str:
    return f"2024-02-29T12:00:00.{ms:03}Z"


def walked(*shown: str, since: str = "", below: int = 0, down_to: int = 0, began: float = 20.0) -> Walked:
    return Walked("c", "s", began, began + 0.1, "acknowledged", since, below, down_to, list(shown))


def listed(*shown: str, since: str = "", seen: int = 0, began: float = 20.0, limit: int = 10) -> Listed:
    return Listed("r", "s", began, began + 0.1, "acknowledged", limit, seen, since, list(shown))


def followed(cursor: str, *shown: str, began: float = 20.0) -> Followed:
    return Followed("f", "s", began, began + 0.1, "acknowledged", cursor, list(shown))


def stored(*messages: tuple[str, int, int]) -> Stored:
    return Stored([(text, seq, time(ms)) for text, seq, ms in messages])


FOUR = [("a", 1, 1), ("b", 2, 2), ("c", 3, 3), ("d", 4, 4)]
WELL: list[Record] = [
    posted("a", 1, at=1),
    posted("b", 2, at=2),
    posted("c", 3, at=3),
    posted("d", 0, at=4, outcome="503"),  # and stored all the same
    stored(*FOUR),
    followed("", "a", began=1.9),
    followed("1", "b", "c", "d"),
    followed("4"),
    walked("d", "c", "b", "a"),
    walked("d", "c", since=time(3)),
    walked("b", since=time(2), below=3),
    walked("d", "c", down_to=2),
    listed("d", "c", "b", "a"),
    listed("c", "b", since=time(2)),
]
NOTHING: set[str] = set()


def kinds(*more: Record) -> set[str]:
    return {each.kind for each in findings(history.of([*WELL, *more]), FRESH_SECONDS)}


CASES = {
    "all is well": ([], NOTHING),
    "posted twice, and answered the same": ([posted("a", 1, at=5)], NOTHING),
    "not acknowledged yet when the list was asked for": ([walked(began=0.5)], NOTHING),
    "acknowledged within what a list may be old": ([walked(began=1.7), listed(began=1.7)], NOTHING),
    "no answer, from a service that was killed": (
        [posted("e", 0, at=5, outcome="cut"), Fault("x", 4, 5, 6, ["s"])],
        NOTHING,
    ),
    "refused": ([posted("e", 0, at=5, outcome="refused")], NOTHING),
    "never stored": ([posted("e", 5, at=5), followed("4", "e", began=21)], {"lost"}),
    "in no list": ([walked("d", "c", "a")], {"hidden"}),
    "not in the rest of a list": ([walked("a", below=3)], {"hidden"}),
    "not in a list down to a number": ([walked("d", down_to=2)], {"hidden"}),
    "not in the list since its time": ([walked("d", "c", since=time(2))], {"hidden"}),
    "stored twice": ([stored(*FOUR, ("a", 5, 5))], {"doubled", "disorder", "stale"}),
    "acknowledged twice": ([posted("a", 4, at=5)], {"doubled"}),
    "twice in one list": ([walked("d", "c", "b", "b", "a")], {"doubled"}),
    "a time that falls": ([posted("e", 5, at=22, ms=3), stored(*FOUR, ("e", 5, 3))], {"disorder"}),
    "an answer with another time": ([posted("d", 4, at=22, ms=9)], {"disorder"}),
    "one that a follower never got": (
        [posted("e", 5, at=22), stored(*FOUR, ("e", 5, 5)), followed("4", began=30)],
        {"followers"},
    ),
    "one that a follower got twice": ([followed("4", "d")], {"followers"}),
    "one that a follower got late": ([followed("3", "b", began=21)], {"followers"}),
    "an old list": ([listed("b", "a")], {"stale"}),
    "an old list since a time": ([listed("b", since=time(2))], {"stale"}),
    "a list without what its reader knows": ([listed("c", "b", "a", seen=4)], {"stale"}),
    "a list with a hole": ([listed("d", "b", "a")], {"stale"}),
    "a list since a time that begins too late": ([listed("c", "d", since=time(2))], {"stale"}),
    "a list of what was never stored": ([listed("x", "d", "c", "b", "a")], {"stale"}),
    "an answer cut off": ([posted("e", 0, at=5, outcome="cut")], {"cut"}),
    "no answer": ([posted("e", 0, at=5, outcome="silent"), Fault("x", 4, 5, 6, ["another"])], {"cut"}),
    "an error of the server": ([posted("e", 0, at=5, outcome="500")], {"500s"}),
    "a traceback": ([Noted("traceback", 5, "Traceback")], {"tracebacks"}),
    "a hand": ([Noted("hand", 5, "it did not come back")], {"hands"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_finds_what_is_wrong_and_nothing_else(case: str) -> None:
    more, found = CASES[case]
    assert kinds(*more) == found


def test_each_checker_finds_something() -> None:
    assert set(CHECKERS) == set().union(*(found for _, found in CASES.values()))


def test_the_longest_time_without_writes() -> None:
    written = history.of([posted("a", 1, at=1), posted("b", 2, at=9, outcome="503"), posted("c", 3, at=4)])
    assert longest_gap(written) == 3.0
    assert longest_gap(written, began=3, ended=3.5) == 3.0
    assert longest_gap(written, began=5) == 0.0


def test_a_history_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    for each in WELL:
        recorder.add(each)
    recorder.close()
    assert findings(history.read(tmp_path), FRESH_SECONDS) == []
    assert history.read(tmp_path).post == history.of(WELL).post


@pytest.mark.parametrize("line", ['{"record": "gossip"}', '{"record": "post"}', "[]", "not JSON"])
def test_what_is_no_history_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / history.FILE).write_text(line)
    with pytest.raises(ValueError):  # noqa: PT011
        history.read(tmp_path)


# What else is made of a history, and the clients that make one.


def test_writes_are_drawn_over_time_with_what_happened() -> None:
    drawn = charts.writes(history.of(WELL), {"killed": 2.0})
    (axes,) = drawn.axes
    assert axes.get_xlabel() == "time (s)"
    assert [each.get_text() for each in axes.texts] == ["killed"]
    assert axes.patches[0].get_data().values.sum() == pytest.approx(3 / 0.1)


def test_clients_of_a_service_see_nothing_wrong(
    shared_server: Server, mongodb_uri: str, shared_db: Database, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path)
    urls = {"a": shared_server.url, "b": shared_server.url}
    with background.loop() as loop:
        traffic = Traffic(urls, recorder, seed=1)
        loop.run(traffic.start(writers=4, readers=2, followers=1))
        assert loop.run(traffic.go_on(100))
        loop.run(traffic.stop())
        caller = Caller("walker", urls, recorder, seed=1)
        done, _ = loop.run(caller.walk())
        assert done
        caller.close()
    recorder.add(database.stored(mongodb_uri, shared_db.name))
    recorder.close()
    seen = history.read(tmp_path)
    assert len(seen.acknowledged()) >= 100
    assert seen.listed
    assert {text for each in seen.followed[1:] for text in each.shown} >= set(seen.acknowledged()) - set(
        seen.followed[0].shown
    )
    assert findings(seen, FRESH_SECONDS) == []


BYTES = {
    "silent": b"",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "acknowledged": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
}


@pytest.mark.parametrize("outcome", BYTES)
@pytest.mark.asyncio
async def test_a_connection_tells_how_far_an_exchange_came(outcome: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BYTES[outcome])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, LOOPBACK, 0) as server:
        connection = Connection(LOOPBACK, server.sockets[0].getsockname()[1])
        try:
            assert (await connection.exchange("GET", "/", {})).status == 200
            seen = "acknowledged"
        except Unanswered as error:
            seen = str(error)
        assert seen == outcome
        connection.close()


@pytest.mark.asyncio
async def test_a_port_where_nobody_listens_refuses() -> None:
    with pytest.raises(Unanswered, match="refused"):
        await Connection(LOOPBACK, free_port()).exchange("GET", "/", {})
