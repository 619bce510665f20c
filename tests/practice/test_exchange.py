"""Requests as curl shows them, and answers of all kinds."""

import json
import subprocess

import pytest

from practice.exchange import JSON, Request, send
from tests.strange_servers import answering, http, silent

MESSAGE = '{"id": 1, "text": "hello"}'


@pytest.mark.parametrize(
    "body",
    [b'{"text": "it\'s"}', b'{"text": "\xff"}', "🙂 %s \\n 100%".encode(), b"@file", b"", b"a\nb\r\n", b"\xff'\\%\n0"],
)
def test_curl_sends_the_same_bytes(tmp_path: object, body: bytes) -> None:
    """The command line runs in a real shell, with a curl that writes down what it was given."""
    line = Request("POST", "http://127.0.0.1:1/messages", JSON, body).as_curl()
    curl = (
        'curl() { for word; do if [ "$before" = --data-raw ]; then printf %s "$word"; fi;'
        " if [ \"$before $word\" = '--data-binary @-' ]; then cat; fi; before=$word; done; }; "
    )
    shown = subprocess.run(["bash", "-c", curl + line], check=True, capture_output=True, timeout=20)
    assert shown.stdout == body


def test_a_get_is_short() -> None:
    assert Request("GET", "http://127.0.0.1:1/?limit=2").as_curl() == "curl -s 'http://127.0.0.1:1/?limit=2'"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(http(MESSAGE), id="HTTP/1.1"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + MESSAGE.encode(), id="HTTP/1.0, until the connection ends"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
            + MESSAGE[:5].encode()
            + b"\r\n15\r\n"
            + MESSAGE[5:].encode()
            + b"\r\n0\r\n\r\n",
            id="chunked",
        ),
    ],
)
def test_an_answer_is_read_however_it_is_framed(raw: bytes) -> None:
    with answering(raw) as url:
        answer = send(Request("GET", url))
    assert (answer.problem, answer.status, answer.message) == ("", 200, json.loads(MESSAGE))


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "the answer was cut off after 2 bytes"),
        (b"hello\r\n", "this is no HTTP answer: hello"),
        (b"", "the server closed the connection without an answer"),
    ],
)
def test_what_is_no_whole_answer_is_none(raw: bytes, problem: str) -> None:
    with answering(raw) as url:
        answer = send(Request("GET", url))
    assert answer.status == 0
    assert answer.shown().startswith(problem)


def test_half_a_body_that_looks_whole_is_no_message() -> None:
    with answering(b'HTTP/1.0 201 Created\r\n\r\n{"id": 1, "te') as url:
        assert send(Request("GET", url)).message is None


def test_a_hang_has_a_limit() -> None:
    with silent() as url:
        assert send(Request("GET", url), seconds=0.2).problem == "no whole answer within 0.2 s"


def test_a_redirect_is_an_answer() -> None:
    with answering(http("", 302, "Location: http://192.0.2.1/\n")) as url:
        assert send(Request("GET", url)).status == 302
