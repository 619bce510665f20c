"""Handlers of Tornado on our connections."""

import functools
import logging
from collections.abc import Iterator

import pytest
from tornado.web import Application, RequestHandler, stream_request_body

from server.http1.application import pass_on
from tests.server.http1.serving import CHUNKED, GET, POST, Serving, read_answer, serving
from tests.waiting import eventually

ONE = b"GET /one HTTP/1.0\r\n\r\n"
gone: list[str] = []


class Plain(RequestHandler):
    def get(self) -> None:
        self.finish(f"{self.request.method} {self.request.uri} {self.request.host} {self.request.remote_ip}")

    head = get

    def post(self) -> None:
        self.finish(b"posted " + self.request.body)


class Parts(RequestHandler):
    async def get(self) -> None:
        for each in ("one ", "two ", "three"):
            self.write(each)
            await self.flush()


class Declares(RequestHandler):
    """Declares a length of 5 bytes, and writes what its argument says."""

    def get(self) -> None:
        self.set_header("Content-Length", "5")
        self.write(self.get_argument("text"))
        self.flush()
        self.request.connection.finish()  # type: ignore[union-attr]  # as `finish` would, which would correct it
        self._finished = True

    def log_exception(self, *_: object) -> None:
        pass


class BadHeader(RequestHandler):
    def get(self) -> None:
        self._headers["X"] = "y"
        self._headers._as_list["X"] = ["y\r\nSet-Cookie: z"]


class Waits(RequestHandler):
    async def get(self) -> None:
        await __import__("asyncio").Event().wait()

    def on_connection_close(self) -> None:
        gone.append("told")


@stream_request_body
class Streams(RequestHandler):
    def initialize(self) -> None:
        self.read: list[bytes] = []

    async def data_received(self, chunk: bytes) -> None:
        self.read.append(chunk)

    def post(self) -> None:
        self.finish(b"streamed " + b"".join(self.read))


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Serving]:
    routes = [("/one", Plain), ("/parts", Parts), ("/declares", Declares), ("/bad", BadHeader), ("/waits", Waits)]
    application = Application([*routes, ("/streams", Streams)])
    with serving(request.param, functools.partial(pass_on, application)) as server:
        yield server


def to(path: bytes, request: bytes = GET) -> bytes:
    return request.replace(b"/one", path)


def test_a_handler_sees_the_request(server: Serving) -> None:
    answers = server.ask(GET + POST + CHUNKED + ONE)
    assert [each.body for each in answers] == [
        b"GET /one lab 127.0.0.1", b"posted hello", b"posted hello", b"GET /one 127.0.0.1 127.0.0.1"
    ]  # fmt: skip
    assert "connection" not in answers[0].headers
    assert "connection" not in answers[3].headers


def test_an_answer_in_parts_is_chunked_or_ends_with_the_connection(server: Serving) -> None:
    chunked, second, last = server.ask(to(b"/parts") + GET + to(b"/parts", ONE))
    assert chunked.headers["transfer-encoding"] == "chunked"
    assert "transfer-encoding" not in last.headers
    assert [chunked.body, last.body] == [b"one two three"] * 2
    assert second.status == 200


def test_the_answer_to_head_has_no_body(server: Serving) -> None:
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(GET.replace(b"GET", b"HEAD") + GET)
        head = b"".join(iter(answers.readline, b"\r\n"))
        assert b"Content-Length: 23\r\n" in head
        answer = read_answer(answers)
        assert answer is not None
        assert answer.body == b"GET /one lab 127.0.0.1"


@pytest.mark.parametrize("text", ["short"[:3], "much too long"])
def test_an_answer_of_another_length_than_declared_ends_with_the_connection(server: Serving, text: str) -> None:
    with server.connect() as caller, caller.makefile("rb") as answers:
        caller.sendall(to(f"/declares?text={text.replace(' ', '+')}".encode()) + GET)
        try:
            said = answers.read()
        except ConnectionError:
            said = b""
    assert b"GET /one" not in said


def test_a_header_that_holds_a_line_break_is_not_sent(server: Serving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "tornado.application")
    assert b"Set-Cookie" not in b"".join(each.body for each in server.ask(to(b"/bad"), half_close=True))


def test_a_handler_is_told_when_its_caller_goes(server: Serving) -> None:
    gone.clear()
    with server.connect() as caller:
        caller.sendall(to(b"/waits"))
        eventually(lambda: [each for each in server.server.connections if each._answer is not None])
        (connection,) = server.server.connections
        server.call(connection.abort)
    eventually(lambda: gone == ["told"])


def test_a_handler_may_take_its_body_in_parts(server: Serving) -> None:
    assert [each.body for each in server.ask(to(b"/streams", POST) + to(b"/streams", CHUNKED) + ONE)][:2] == [
        b"streamed hello"
    ] * 2


def test_more_than_a_thousand_fields_are_refused(server: Serving) -> None:
    answers = server.ask(to(b"/one?" + b"a=b&" * 1001), half_close=True)
    assert [each.status for each in answers] == [400]
    assert answers[0].headers["connection"] == "close"
