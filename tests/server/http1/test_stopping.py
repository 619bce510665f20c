"""A server that stops, at each moment of a connection: who is admitted is answered, and who is not is told so."""

import logging
import math
import socket

import pytest
from tornado.httputil import HTTPHeaders, ResponseStartLine

from server.http1 import connection as http1_connection
from server.http1.answer import Answer
from server.http1.connection import Connection, State
from server.http1.reading import Request
from tests.server.http1.serving import CHUNKED, GET, LOOPS, POST, Echo, Serving, read_answer, send, serving
from tests.waiting import eventually

MUCH = 20_000_000  # bytes; more than all the sockets between us hold
SOME = 100_000  # bytes; the kernel holds them for a peer that does not read
HUNG_UP = [(408, "close", http1_connection.NOT_BEGUN.encode())]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for those who may send, so that a test has all the time it needs."""
    monkeypatch.setattr(http1_connection, "STOPPING_SECONDS", 60.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_connection, "STOPPING_SECONDS", 0.0)


def the_connection(server: Serving) -> Connection:
    (found,) = eventually(lambda: server.server.connections)
    return found


def told(caller: socket.socket) -> list[tuple[int, str, bytes]]:
    """What the caller is answered to the end of the connection: status, Connection, body."""
    with caller.makefile("rb") as answers:
        found = list(iter(lambda: read_answer(answers), None))
    return [(each.status, each.headers.get("connection", ""), each.body) for each in found]


# Who is admitted.


def test_when_the_server_stops_what_has_begun_is_answered(server: Serving, echo: Echo) -> None:
    echo.hold()
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(GET + GET)
        eventually(lambda: len(echo.requests) == 1)
        server.call(server.server.stop)
        with pytest.raises(ConnectionError):
            server.connect()
        server.call(echo.release)
        answer = read_answer(answers)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert read_answer(answers) is None
    assert len(echo.requests) == 1


@pytest.mark.usefixtures("impatient")
def test_it_is_not_drained_before_what_has_begun_is_answered(server: Serving, echo: Echo) -> None:
    echo.hold()
    with server.connect() as caller:
        caller.sendall(GET)
        eventually(lambda: len(echo.requests) == 1)
        with server.connect() as idle:
            eventually(lambda: len(server.server.connections) == 2)
            drained = server.drain()
            assert told(idle) == HUNG_UP  # the server has looked at its connections
        assert not drained.done()
        server.call(echo.release)
        assert told(caller) == [(200, "close", b"GET /one ")]
    drained.result(20)


@pytest.mark.usefixtures("patient")
def test_a_kept_connection_that_sends_once_more_is_answered_and_ends(server: Serving, echo: Echo) -> None:
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(GET)
        assert "connection" not in read_answer(answers).headers
        drained = server.drain()
        caller.sendall(POST + GET)
        answer = read_answer(answers)
        assert (answer.headers["connection"], answer.body) == ("close", b"POST /one hello")
        assert read_answer(answers) is None
    drained.result(20)
    assert len(echo.requests) == 2


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("whole", "cut"), [(GET, 5), (GET, -2), (POST, -2), (CHUNKED, -5)])
def test_a_request_that_is_partly_read_is_answered_when_the_rest_comes(server: Serving, whole: bytes, cut: int) -> None:
    with server.connect() as caller:
        caller.sendall(whole[:cut])
        eventually(lambda: the_connection(server)._state is State.RECEIVING)
        drained = server.drain()
        caller.sendall(whole[cut:])
        ((status, connection, _),) = told(caller)
        assert (status, connection) == (200, "close")
    drained.result(20)


@pytest.mark.usefixtures("impatient")
def test_what_has_arrived_when_an_idle_connection_would_be_closed_is_answered(server: Serving) -> None:
    with server.connect() as caller:
        connection = the_connection(server)

        def at_the_last_moment() -> None:
            server.server.stop()
            caller.sendall(GET)  # it is with the kernel: the event loop is here, and cannot have read it
            connection.expire(math.inf)

        server.call(at_the_last_moment)
        assert told(caller) == [(200, "close", b"GET /one ")]


def test_who_has_connected_is_accepted_before_the_door_is_closed(server: Serving) -> None:
    callers: list[socket.socket] = []

    def connect_and_stop() -> None:
        for _ in range(5):  # they are in the backlog: the event loop is here, and cannot have accepted them
            callers.append(server.connect())
            callers[-1].sendall(GET)
        server.server.stop()

    server.call(connect_and_stop)
    assert [told(each) for each in callers] == [[(200, "close", b"GET /one ")]] * 5


def test_what_is_answered_in_the_turn_in_which_it_stops_is_sent(server: Serving, echo: Echo) -> None:
    echo.hold()
    with server.connect() as caller:
        caller.sendall(GET + POST + GET)
        eventually(lambda: len(echo.requests) == 1)
        server.call(lambda: (echo.release(), server.server.stop()))
        assert told(caller) == [(200, "", b"GET /one "), (200, "close", b"POST /one hello")]


@pytest.mark.parametrize("loop", LOOPS)
def test_an_answer_that_has_begun_keeps_what_its_head_says(loop: str) -> None:
    """Its head says that the connection stays, and so it does, for one more request."""
    begun: list[Answer] = []

    def respond(request: Request, answer: Answer) -> None:
        if begun:
            send(answer, 200, b"the next")
        else:
            answer.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "5"}))
            begun.append(answer)

    with serving(loop, respond) as server, server.connect() as caller:
        caller.sendall(GET)
        eventually(lambda: begun)
        server.call(server.server.stop)
        server.call(lambda: (begun[0].write(b"first"), begun[0].finish()))
        caller.sendall(GET)
        assert told(caller) == [(200, "", b"first"), (200, "close", b"the next")]


def test_who_reads_slowly_gets_all_of_its_answer(server: Serving, echo: Echo) -> None:
    echo.size = MUCH
    with server.connect() as caller:
        caller.sendall(GET)
        eventually(lambda: the_connection(server)._is_blocked)
        drained = server.drain()
        assert not drained.done()
        (_, _, body), *then = told(caller)
        assert then == HUNG_UP
        assert len(body) > MUCH
    drained.result(20)


@pytest.mark.usefixtures("impatient")
def test_what_a_slow_reader_sends_meanwhile_does_not_cut_its_answer(server: Serving, echo: Echo) -> None:
    """With a closed socket on this side, what it sends would be answered by a reset."""
    echo.size = SOME
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", server.port))
        caller.sendall(GET)
        eventually(lambda: echo.requests and the_connection(server)._state is State.IDLE)  # the kernel has the answer
        drained = server.drain()
        eventually(lambda: the_connection(server)._state is State.LINGERING)
        caller.sendall(GET)
        server.call(lambda: None)
        assert not drained.done()
        (_, _, body), *then = told(caller)
        assert then == HUNG_UP
        assert len(body) > SOME
    drained.result(20)


# Who is not.


@pytest.mark.usefixtures("impatient")
def test_an_idle_connection_is_closed_though_its_caller_does_not_close(server: Serving) -> None:
    with server.connect() as idle:
        drained = server.drain()
        drained.result(20)
        assert told(idle) == HUNG_UP


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("request_", [GET, POST])
def test_a_request_that_crosses_the_end_of_its_connection_is_told_so(
    server: Serving, echo: Echo, request_: bytes
) -> None:
    with server.connect() as caller:
        drained = server.drain()
        eventually(lambda: the_connection(server)._state is State.LINGERING)
        caller.sendall(request_)  # as it looks to the server: it was on the wire when that hung up
        assert told(caller) == HUNG_UP
        drained.result(20)
    assert not echo.requests


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("half", [GET[:5], GET[:-2], POST[:-2], CHUNKED[:-5]])
def test_who_does_not_finish_its_request_is_told_that_the_server_stops(
    server: Serving, echo: Echo, half: bytes
) -> None:
    with server.connect() as caller:
        caller.sendall(half)
        eventually(lambda: the_connection(server)._state is State.RECEIVING)
        drained = server.drain()
        ((status, connection, detail),) = told(caller)
        assert (status, connection) == (503, "close")
        assert b"send it again" in detail
        drained.result(20)
    assert not echo.requests


def test_when_it_closes_who_has_not_finished_is_told_so(server: Serving) -> None:
    with server.connect() as half, half.makefile("rb") as answers, server.connect() as idle:
        half.sendall(POST[:-2])
        eventually(lambda: [each for each in server.server.connections if each._state is State.RECEIVING])
        server.call(server.server.stop)
        server.call(lambda: server.loop.create_task(server.server.close()))
        assert read_answer(answers).status == 503
        assert told(idle) == HUNG_UP


def test_when_it_closes_who_is_not_answered_yet_is_told_so(
    server: Serving, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    echo.hold()
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(POST)
        eventually(lambda: len(echo.requests) == 1)
        server.call(server.server.stop)
        server.call(lambda: server.loop.create_task(server.server.close()))
        answer = read_answer(answers)
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert b"Idempotency-Key" in answer.body
        server.call(echo.release)  # the answer comes too late, and harms nobody
        server.call(lambda: None)
        assert read_answer(answers) is None
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
