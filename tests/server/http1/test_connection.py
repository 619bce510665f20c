"""Connections, on real sockets: requests in turn, half-closed and slow callers, and how a connection ends."""

import contextlib
import itertools
import logging
import socket
import time
from http import HTTPStatus

import pytest

from server.http1 import server as http1_server
from server.http1.answer import Answer
from server.http1.connection import State
from server.http1.reading import MAX_BODY, MAX_HEAD, Refused, Request
from tests.server.http1.serving import CHUNKED, GET, LOOPS, POST, Echo, Serving, read_answer, serving
from tests.waiting import eventually

LAST = b"GET /last HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"
MUCH = 20_000_000  # bytes; more than all the sockets between us hold


def bodies(server: Serving, *parts: bytes, half_close: bool = False) -> list[bytes]:
    return [each.body for each in server.ask(*parts, half_close=half_close)]


# Requests in turn.


def test_requests_are_answered_in_their_order(server: Serving) -> None:
    assert bodies(server, GET + POST + CHUNKED + GET + LAST) == [
        b"GET /one ", b"POST /one hello", b"POST /one hello", b"GET /one ", b"GET /last "
    ]  # fmt: skip


def test_the_next_one_is_given_on_when_the_one_before_it_is_answered(server: Serving, echo: Echo) -> None:
    echo.hold()
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(GET + POST)
        eventually(lambda: len(echo.requests) == 1)
        server.call(lambda: None)
        assert len(echo.requests) == 1
        server.call(echo.release)
        assert [read_answer(answers).body for _ in range(2)] == [b"GET /one ", b"POST /one hello"]


def test_thousands_that_come_at_once_are_answered(server: Serving) -> None:
    assert len(bodies(server, GET * 5000 + LAST)) == 5001


def test_who_asks_on_without_being_answered_has_to_wait(server: Serving, echo: Echo) -> None:
    echo.hold()
    large = POST.replace(b"5\r\n\r\nhello", b"%d\r\n\r\n" % MAX_BODY + b"x" * MAX_BODY)
    with server.connect() as caller:
        caller.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while caller.send(large) and len(echo.requests) < 2:
                time.sleep(0)  # the server's thread has the same lock
        eventually(lambda: len(echo.requests) == 1)
        (connection,) = server.server.connections
        assert len(connection._reader.requests) < 10


def test_a_large_head_is_read(server: Serving) -> None:
    request = GET.replace(b"lab\r\n", b"lab\r\nX: " + b"x" * (MAX_HEAD - 100) + b"\r\n")
    assert bodies(server, request + LAST) == [b"GET /one ", b"GET /last "]


# How a connection ends.


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        LAST,
        b"GET /one HTTP/1.0\r\n\r\n",
        CHUNKED,
        GET.replace(b"lab\r\n", b"lab\r\nX: " + b"x" * 10_000 + b"\r\n"),
    ],
    ids=["GET", "close", "HTTP/1.0", "chunks", "a long head"],
)
def test_who_half_closes_is_answered(server: Serving, echo: Echo, request_: bytes) -> None:
    assert [each.status for each in server.ask(request_, half_close=True)] == [200]
    echo.hold()
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(request_)
        caller.shutdown(socket.SHUT_WR)
        eventually(lambda: len(echo.requests) == 2)
        server.call(echo.release)
        assert read_answer(answers).status == 200
        assert read_answer(answers) is None


def test_a_large_answer_to_who_half_closes_arrives(
    server: Serving, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    echo.size = MUCH
    assert [len(each) for each in bodies(server, GET, half_close=True)] == [MUCH + len(b"GET /one ")]
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize("half", [POST[:-2], GET[:-2], CHUNKED[:-5]], ids=["a body", "a head", "chunks"])
def test_who_half_closes_in_the_middle_is_told_so(server: Serving, half: bytes) -> None:
    answers = server.ask(GET + half, half_close=True)
    assert [each.status for each in answers] == [200, 400]
    assert b"ends in the middle" in answers[1].body


def test_the_connection_stays_or_ends_as_the_caller_wants(server: Serving) -> None:
    for version, header, answered in [("1.1", "", ""), ("1.1", "close", "close"), ("1.1", "TE, Close", "close"),
                                      ("1.0", "", ""), ("1.0", "keep-alive", "Keep-Alive")]:  # fmt: skip
        line = f"Connection: {header}\r\n" if header else ""
        request = f"GET /one HTTP/{version}\r\nHost: lab\r\n{line}\r\n".encode()
        first, *more = server.ask(request + LAST)
        assert first.headers.get("connection", "") == answered
        assert len(more) == (header in ("keep-alive", "") and (version, header) != ("1.0", ""))


def test_who_goes_away_before_the_answer_is_forgotten(
    server: Serving, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    echo.hold()
    with server.connect() as caller:
        caller.sendall(GET)
        eventually(lambda: len(echo.requests) == 1)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.call(echo.release)
    eventually(lambda: not server.server.connections)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


# What is refused.


@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_much_too_much_reads_why_it_is_refused(server: Serving, chunked: bool) -> None:
    if chunked:
        parts = [CHUNKED.partition(b"5\r\n")[0], *([b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * (MUCH // 0x10000))]
    else:
        parts = [POST.replace(b"5\r\n\r\nhello", b"%d\r\n\r\n" % MUCH), *([b"x" * 1_000_000] * 20)]
    (answer,) = server.ask(*parts, half_close=True)
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


def test_what_follows_something_refused_is_not_answered(server: Serving) -> None:
    answers = server.ask(GET + b"hello\r\n\r\n" + GET)
    assert [each.status for each in answers] == [200, 400]
    assert answers[1].headers["connection"] == "close"


def test_who_waits_for_leave_to_send_a_body_gets_it(server: Serving) -> None:
    for expected in (b"100-continue", b"100-Continue"):
        with server.connect() as caller, caller.makefile("rb") as answers:
            caller.sendall(GET + POST[:-5].replace(b"lab\r\n", b"lab\r\nExpect: " + expected + b"\r\n"))
            assert read_answer(answers).body == b"GET /one "
            assert read_answer(answers).status == 100
            caller.sendall(b"hello")
            assert read_answer(answers).body == b"POST /one hello"


def test_nobody_gets_leave_to_send_what_is_refused(server: Serving) -> None:
    request = POST[:-5].replace(b"lab\r\n", b"lab\r\nExpect: 100-continue\r\n").replace(b": 5", b": 70000")
    assert [each.status for each in server.ask(request)] == [413]


@pytest.mark.parametrize("loop", LOOPS)
def test_bodies_of_who_is_not_admitted_are_not_kept(loop: str, echo: Echo) -> None:
    def nobody(request: Request) -> None:
        raise Refused("no", HTTPStatus.UNAUTHORIZED)

    with serving(loop, echo.respond, nobody) as server:
        answers = server.ask(GET + POST)
        assert [each.status for each in answers] == [200, 401]
    assert [each.method for each in echo.requests] == [b"GET"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_bug_is_answered_and_logged_without_the_query(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    def bug(request: Request, answer: Answer) -> None:
        raise ZeroDivisionError

    with serving(loop, bug) as server:
        assert [each.status for each in server.ask(GET.replace(b"/one", b"/one?token=secret"))] == [500]
        assert [each.status for each in server.ask(GET)] == [500]
    assert "GET /one" in caplog.text
    assert "secret" not in caplog.text


# Those who keep us waiting.


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (State.IDLE, State.RECEIVING, State.SENDING, State.LINGERING):
        monkeypatch.setattr(each, "_value_", 0.05)
    monkeypatch.setattr(http1_server, "REAP_SECONDS", 0.02)


@pytest.mark.usefixtures("impatient")
def test_a_connection_on_which_nothing_comes_is_closed(server: Serving) -> None:
    assert server.ask() == []
    assert [each.status for each in server.ask(GET)] == [200]


@pytest.mark.parametrize("half", [POST[:-2], GET[:-5], CHUNKED[:-5]], ids=["a body", "a head", "chunks"])
@pytest.mark.usefixtures("impatient")
def test_who_does_not_finish_its_request_is_told_so(server: Serving, half: bytes) -> None:
    assert [each.status for each in server.ask(GET + half)] == [200, 408]


@pytest.mark.usefixtures("impatient")
def test_an_answer_may_take_long(server: Serving, echo: Echo) -> None:
    echo.hold()
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(GET)
        eventually(lambda: len(echo.requests) == 1)
        assert server.ask() == []  # meanwhile another connection was closed
        server.call(echo.release)
        assert read_answer(answers).status == 200


@pytest.mark.usefixtures("impatient")
def test_who_does_not_read_its_answer_is_hung_up_on(server: Serving, echo: Echo) -> None:
    echo.size = MUCH
    with server.connect() as caller:
        caller.sendall(GET + GET)
        eventually(lambda: len(echo.requests) == 1)
        eventually(lambda: not server.server.connections)
    assert len(echo.requests) == 1


def test_who_reads_slowly_gets_all_of_it(server: Serving, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(State.SENDING, "_value_", 0.3)
    monkeypatch.setattr(http1_server, "REAP_SECONDS", 0.02)
    echo.size = MUCH
    with server.connect() as caller:
        caller.sendall(LAST)
        read, began = 0, time.monotonic()
        while part := caller.recv(MUCH // 10):
            read += len(part)
            time.sleep(0.05)  # this caller's own slowness
    assert read > MUCH
    assert time.monotonic() - began > 0.6


@pytest.mark.usefixtures("impatient")
def test_who_does_not_close_after_the_last_answer_is_closed_on(server: Serving) -> None:
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(LAST)
        assert read_answer(answers).status == 200
        assert read_answer(answers) is None
        eventually(lambda: not server.server.connections)


# At the limit of descriptors.


def test_short_of_descriptors_it_says_so_once_a_second_and_recovers(
    server: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http1_server, "RETRY_SECONDS", 0.2)
    (listening,) = server.server._listening
    tried: list[float] = []

    class Short:
        def fileno(self) -> int:
            return listening.fileno()

        def accept(self) -> None:
            tried.append(time.monotonic())
            if len(tried) < 4:
                raise OSError(24, "Too many open files")
            return listening.accept()

    def swap() -> None:
        server.loop.remove_reader(listening)
        server.server._accept_on(Short())

    server.call(swap)
    assert [each.status for each in server.ask(LAST)] == [200]
    assert len([each for each in caplog.records if "no connection can be accepted" in each.message]) == 3
    assert all(later - earlier > 0.15 for earlier, later in itertools.pairwise(tried[:4]))
