"""The fast path answers as the application does, only sooner."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from harness.servers import Server
from loadtests import service
from migrations.database import Database
from server.api import fast
from server.api.exchange import Dependencies
from server.messages import Page
from tests.conftest import StartServer
from tests.processes import mongod_of, stopped
from tests.waiting import eventually

POST_HEAD = "POST /messages HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\n"


def exchange(server: Server, *requests: str | bytes) -> list[tuple[int, dict[str, str], bytes, bool]]:
    """Send requests over one connection; gives the status, headers, body and whether the connection is to close."""
    host, port = server.url.removeprefix("http://").split(":")
    answers = []
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for request in requests:
            raw = request.encode() if isinstance(request, str) else request
            connection.sendall(raw)
            answer = HTTPResponse(connection, method=raw.split(b" ", 1)[0].decode())
            answer.begin()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            answers.append((answer.status, headers, answer.read(), answer.will_close))
    return answers


def messages_of_next(answers: BinaryIO) -> list[Any]:
    """The messages in the next answer on a connection that has more than one."""
    head = b"".join(iter(answers.readline, b"\r\n"))
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return list(json.loads(answers.read(length))["messages"])


def get(path: str = "/messages", *headers: str, version: str = "1.1", method: str = "GET") -> str:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: lab", *headers, "", ""])


def post(body: str | bytes, *headers: str) -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    head = "".join(f"{each}\r\n" for each in headers)
    return f"{POST_HEAD}Content-Length: {len(raw)}\r\n{head}\r\n".encode() + raw


@pytest.fixture(scope="module")
def pair(mongodb_uri: str, shared_db: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """A server with the fast path and one without, on the same messages."""
    folder = tmp_path_factory.mktemp("pair")
    place = {"mongodb_uri": mongodb_uri, "database": shared_db.name, "api_keys": "ada:key-of-ada"}
    with (
        service.running(folder / "fast.log", **place) as with_it,
        service.running(folder / "ordinary.log", fast_path="off", **place) as without,
    ):
        for number in range(25):
            exchange(with_it, post(json.dumps({"text": f"number {number}"}), KEY))
        eventually(
            lambda: exchange(with_it, get("/messages", KEY))[0][2] == exchange(without, get("/messages", KEY))[0][2]
        )
        yield with_it, without


KEY = "Authorization: Bearer key-of-ada"
VARIABLE = {"date", "x-request-id", "server-timing", "lab-seen", "location"}

SAME = {
    "plain": get("/messages", KEY),
    "limit": get("/messages?limit=3", KEY),
    "limit 1000": get("/messages?limit=1000", KEY),
    "limit 0": get("/messages?limit=0", KEY),
    "limit 1001": get("/messages?limit=1001", KEY),
    "limit twice": get("/messages?limit=1&limit=2", KEY),
    "limit with zeros": get("/messages?limit=0003", KEY),
    "another parameter": get("/messages?limit=3&colour=red", KEY),
    "a cursor": get("/messages?cursor=5~5&limit=2", KEY),
    "empty query": get("/messages?", KEY),
    "HEAD": get("/messages", KEY, method="HEAD"),
    "HEAD limit": get("/messages?limit=2", KEY, method="HEAD"),
    "no key": get("/messages"),
    "wrong key": get("/messages", "Authorization: Bearer key-of-bob"),
    "HTTP/1.0": get("/messages", KEY, version="1.0"),
    "HTTP/1.0 keep-alive": get("/messages", KEY, "Connection: keep-alive", version="1.0"),
    "Connection: close": get("/messages", KEY, "Connection: close"),
    "known": get("/messages", KEY, "If-None-Match: *"),
    "not known": get("/messages", KEY, 'If-None-Match: "something", "else"'),
    "seen": get("/messages", KEY, "Lab-Seen: 25"),
    "seen of nobody": get("/messages", KEY, "Lab-Seen: -1"),
    "seen with spaces": get("/messages", KEY, "Lab-Seen: 1 2"),
    "Expect": POST_HEAD + KEY + "\r\nExpect: 100-something\r\nContent-Length: 2\r\n\r\n{}",
    "in chunks": POST_HEAD + KEY + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "lines that end with a line feed": get("/messages", KEY).replace("\r\n", "\n"),
    "an empty line before": "\r\n" + get("/messages", KEY),
    "a long head": get("/messages", KEY, "X-Long: " + "x" * 8000),
    "no Host": "GET /messages HTTP/1.1\r\n\r\n",
    "a Host that is none": get("/healthz").replace("Host: lab", "Host: a b"),
    "two lengths": post("{}", KEY, "Content-Length: 3"),
    "a length that is no number": post("{}", KEY).replace(b"Length: 2", b"Length: +2"),
    "a header without a name": get("/messages", KEY, ": nothing"),
    "no HTTP": "hello\r\n\r\n",
    "a GET with a body": get("/messages", KEY, "Content-Length: 2") + "{}",
    "another method": get("/messages", KEY, method="DELETE"),
    "another path": get("/messages/", KEY),
    "post nothing": post("", KEY),
    "post no JSON": post("{", KEY),
    "post an unknown field": post('{"text": "x", "colour": "red"}', KEY),
    "post blank": post('{"text": " "}', KEY),
    "post broken UTF-8": post(b'{"text": "\xff"}', KEY),
    "post without a key": post('{"text": "x"}'),
    "post to a query": post('{"text": "x"}', KEY).replace(b"/messages", b"/messages?x=1"),
    "post a form": post("text=x", KEY).replace(b"application/json", b"application/x-www-form-urlencoded"),
    "post a bad Idempotency-Key": post('{"text": "x"}', KEY, "Idempotency-Key: " + "k" * 256),
    "post a reply to nothing": post('{"text": "x", "reply_to": "' + "0" * 24 + '"}', KEY),
    "post 64 KiB and one byte": post(" " * (64 * 1024 + 1), KEY),
}


@pytest.mark.parametrize("name", SAME)
def test_it_answers_as_the_application_does(pair: tuple[Server, Server], name: str) -> None:
    (with_it,), (without,) = (exchange(each, SAME[name]) for each in pair)
    assert with_it[0] == without[0]
    assert set(with_it[1]) == set(without[1])
    for header in set(with_it[1]) - VARIABLE:
        assert with_it[1][header] == without[1][header], header
    assert with_it[2:] == without[2:]


@pytest.mark.parametrize("body", ['{"text": "hello"}', '{"text": "grüße \\u2603", "author": "Ada"}'])
def test_it_stores_as_the_application_does(pair: tuple[Server, Server], body: str) -> None:
    answers = [exchange(each, post(body, KEY))[0] for each in pair]
    assert [status for status, *_ in answers] == [201, 201]
    assert set(answers[0][1]) == set(answers[1][1])
    one, other = (json.loads(answer[2]) for answer in answers)
    for made in ("id", "seq", "created_at"):
        del one[made], other[made]
    assert one == other


def test_a_repeated_key_is_the_same_message_on_both_paths(pair: tuple[Server, Server]) -> None:
    request = post('{"text": "once"}', KEY, "Idempotency-Key: one of two paths")
    first, second = (exchange(each, request)[0] for each in pair)
    assert first[2] == second[2]
    assert "idempotency-replayed" not in first[1]
    assert second[1]["idempotency-replayed"] == "true"


def test_requests_follow_each_other_on_one_connection(pair: tuple[Server, Server]) -> None:
    lists, posts = get("/messages?limit=2", KEY), post('{"text": "x"}', KEY)
    mixed = [
        lists,
        posts,
        get("/healthz"),
        lists,
        get("/messages", KEY, method="HEAD"),
        posts,
        get("/nothing", KEY),
        lists,
    ]
    statuses = [status for status, *_ in exchange(pair[0], *mixed)]
    assert statuses == [200, 201, 200, 200, 200, 201, 404, 200]


def test_pipelined_requests_are_answered_in_order(pair: tuple[Server, Server]) -> None:
    host, port = pair[0].url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rb") as answers:
        connection.sendall(b"".join(get(f"/messages?limit={limit}", KEY).encode() for limit in (1, 2, 3)))
        for limit in (1, 2, 3):
            assert len(messages_of_next(answers)) == limit


def test_who_asks_for_lists_of_every_length_fills_no_memory() -> None:
    nothing: Any = None
    path = fast.FastPath(Dependencies(nothing, nothing, nothing, nothing, nothing), nothing, nothing)
    pages = [Page([], None, 0) for _ in range(1000)]
    for limit, page in enumerate(pages, start=1):
        assert path._prepare(page, limit) is path._prepared[limit]
    assert len(path._prepared) <= fast.MAX_PREPARED


def test_a_body_that_comes_in_pieces_is_one(pair: tuple[Server, Server]) -> None:
    host, port = pair[0].url.removeprefix("http://").split(":")
    request = post('{"text": "in pieces"}', KEY)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for position in range(len(request)):
            connection.sendall(request[position : position + 1])
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == 201


def test_both_count_and_log_what_they_answer(tmp_path: Path, mongodb_uri: str, shared_db: Any) -> None:
    place = {"mongodb_uri": mongodb_uri, "database": shared_db.name}
    log = tmp_path / "server.log"
    with service.running(log, access_log="on", **place) as server:
        exchange(
            server, get("/messages", "X-Request-ID: fast-one"), post('{"text": "secret"}', "X-Request-ID: fast-two")
        )
        (_, _, metrics, _) = exchange(server, get("/metrics"))[0]
        for labels in ('method="GET",route="/messages",status="200"', 'method="POST",route="/messages",status="201"'):
            assert f"http_request_duration_seconds_count{{{labels}}} 1.0".encode() in metrics
        lines = eventually(lambda: [json.loads(each) for each in log.read_text().splitlines() if "fast-" in each][1:])
        assert lines[0]["request_id"] == "fast-two"
        assert "secret" not in log.read_text()


def test_it_refuses_over_the_limit(tmp_path: Path, mongodb_uri: str, shared_db: Any) -> None:
    place = {"mongodb_uri": mongodb_uri, "database": shared_db.name}
    with service.running(tmp_path / "server.log", client_limit="4/hour", write_limit="1/hour", **place) as server:
        post_, get_ = post('{"text": "x"}'), get("/messages")
        answers = exchange(server, post_, post_, get_, get_, get_, get("/messages/" + "0" * 24), get("/healthz"))
    assert [status for status, *_ in answers] == [201, 429, 200, 200, 429, 429, 200]
    policy = '"client";q=4;w=3600'
    assert answers[0][1]["ratelimit-policy"] == f'{policy}, "writes";q=1;w=3600'
    assert answers[1][1]["ratelimit"].startswith('"writes";r=0;')
    assert answers[2][1]["ratelimit"].startswith('"client";r=1;')
    assert answers[4][1]["ratelimit-policy"] == policy
    assert int(answers[4][1]["retry-after"]) > 0


def test_writes_that_cannot_be_waited_for_are_refused_at_once(data_dir: Path, tmp_path: Path) -> None:
    with service.running(tmp_path / "server.log", data_dir=data_dir, max_waiting=3) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with stopped(mongod_of(data_dir)), contextlib.ExitStack() as stack:
            for _ in range(3):
                waiting = stack.enter_context(socket.create_connection((host, int(port))))
                waiting.sendall(post('{"text": "waits"}'))
            metrics = lambda: exchange(server, get("/metrics"))[0][2]  # noqa: E731
            eventually(lambda: b"writes_waiting 3.0" in metrics())
            status, headers, body, _ = exchange(server, post('{"text": "one too many"}'))[0]
            assert status == 503
            assert headers["retry-after"] == "1"
            assert "3 writes are waiting" in json.loads(body)["detail"]
        eventually(lambda: exchange(server, post('{"text": "afterwards"}'))[0][0] == 201)
        assert "Traceback" not in server.log.read_text()


def test_a_server_that_stops_sends_what_it_has_begun_to_send(start_server: StartServer, migrated: Database) -> None:
    long = "\N{GRINNING FACE}" * 4000  # a page of them is more than the sockets between us hold
    now = datetime.now(UTC)
    migrated.messages.insert_many({"text": long, "seq": seq, "created_at": now} for seq in range(1, 1001))
    server = start_server()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(get("/messages?limit=1000").encode())
        eventually(lambda: b"http_requests_in_flight 2.0" in exchange(server, get("/metrics"))[0][2])
        server.process.terminate()
        answer = HTTPResponse(connection)
        answer.begin()
        assert len(json.loads(answer.read())["messages"]) == 1000
    assert server.process.wait(20) == 0


def test_a_caller_who_goes_away_in_the_middle_is_not_waited_for(start_server: StartServer, migrated: Database) -> None:
    long = "\N{GRINNING FACE}" * 4000
    now = datetime.now(UTC)
    migrated.messages.insert_many({"text": long, "seq": seq, "created_at": now} for seq in range(1, 1001))
    server = start_server()
    host, port = server.url.removeprefix("http://").split(":")
    metrics = lambda: exchange(server, get("/metrics"))[0][2]  # noqa: E731
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(get("/messages?limit=1000").encode())
        eventually(lambda: b"http_requests_in_flight 2.0" in metrics())
    eventually(lambda: b"http_requests_in_flight 1.0" in metrics())


def test_who_sends_on_without_reading_is_answered_no_further_than_it_reads(
    start_server: StartServer, migrated: Database
) -> None:
    long, requests = "\N{GRINNING FACE}" * 4000, 1000  # their answers are more than the sockets between us hold
    migrated.messages.insert_many({"text": long, "seq": seq, "created_at": datetime.now(UTC)} for seq in (1, 2, 3))
    server = start_server()
    host, port = server.url.removeprefix("http://").split(":")

    def answered() -> int:
        count = re.search(
            rb'duration_seconds_count{method="GET",route="/messages",status="200"} (\d+)',
            exchange(server, get("/metrics"))[0][2],
        )
        return int(count[1]) if count else 0

    with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rb") as answers:
        connection.sendall(b"".join(get(f"/messages?limit={number % 3 + 1}").encode() for number in range(requests)))
        eventually(lambda: 0 < answered() == answered())
        assert answered() < requests
        for number in range(requests):
            assert len(messages_of_next(answers)) == number % 3 + 1
    eventually(lambda: b"http_requests_in_flight 1.0" in exchange(server, get("/metrics"))[0][2])
