"""MessageClient: since, reply, get, replies, follow; access keys, and retries."""

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from client import MessageClient, NotFound, ServiceUnavailable, TooMany
from harness.servers import Server
from tests.conftest import StartServer


@pytest.fixture
def client(server: Server) -> Iterator[MessageClient]:
    with MessageClient(server.url) as client:
        yield client


def test_since_gives_all_pages_newest_first(client: MessageClient) -> None:
    begin = datetime.now(UTC) - timedelta(minutes=1)
    sent = [client.send(f"number {number}") for number in range(130)]
    assert client.since(begin) == sent[::-1]
    assert client.since(begin, limit=105) == sent[::-1][:105]
    assert client.since(datetime.now(UTC) + timedelta(minutes=1)) == []


def test_since_needs_a_time_zone(client: MessageClient) -> None:
    with pytest.raises(ValueError, match="time zone"):
        client.since(datetime(2024, 2, 29))


def test_a_thread_is_a_message_and_its_replies(client: MessageClient) -> None:
    question = client.send("who comes?")
    replies = [client.reply(question.id, f"me {number}") for number in range(103)]
    thread = client.get(question.id)
    assert (thread.message, thread.replies, thread.more) == (question, replies[:100], True)
    assert list(client.replies(question.id)) == replies


@pytest.mark.parametrize("id", ["0" * 24, "nothing", "../healthz", ""])
def test_an_unknown_id_is_not_found(client: MessageClient, id: str) -> None:
    with pytest.raises(NotFound):
        list(client.replies(id))


def test_follow_yields_the_messages_after_its_cursor(client: MessageClient) -> None:
    client.send("before")
    begin = client.newest()
    sent = [client.send(f"number {number}") for number in range(250)]
    assert list(itertools.islice(client.follow(begin, interval=0.01), 250)) == sent


def test_a_client_reads_its_own_writes_from_every_worker(start_server: StartServer) -> None:
    one, other = start_server(), start_server()
    with MessageClient(one.url) as writer, MessageClient(other.url) as reader:
        for number in range(10):
            reader.recent()  # fills the other worker's cache
            sent = writer.send(f"number {number}")
            reader._transport._seen = writer._transport._seen  # as if one client met both behind a balancer
            assert reader.recent(1) == [sent]


def test_an_access_key_is_sent(start_server: StartServer) -> None:
    server = start_server(api_keys="mia:a-key-of-mia")
    with MessageClient(server.url, api_key="a-key-of-mia") as client:
        assert client.send("hello") == client.recent()[0]


# Retries.


class Flaky(BaseHTTPRequestHandler):
    """A server that gives the `answers` (status, Retry-After) in turn, and then 201."""

    answers: list[tuple[int, str]] = []  # noqa: RUF012  set by each test
    keys: list[str | None] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["Idempotency-Key"])
        status, retry_after = self.answers.pop(0) if self.answers else (201, "")
        body = b'{"detail": "no", "id": "x", "text": "x", "author": "x", "created_at": "2024-02-29T12:00:00.000Z"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def flaky_url() -> Iterator[str]:
    Flaky.answers, Flaky.keys = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()
        thread.join()


def test_temporary_failures_are_retried_with_the_same_idempotency_key(flaky_url: str) -> None:
    Flaky.answers = [(503, "0"), (429, "0"), (500, "")]
    with MessageClient(flaky_url, retries=3) as client:
        client.send("hello")
        client.send("again")
    first, *others, last = Flaky.keys
    assert first is not None
    assert others == [first] * 3
    assert last != first


def test_the_number_of_retries_is_bounded(flaky_url: str) -> None:
    Flaky.answers = [(503, "")] * 3
    with MessageClient(flaky_url, retries=2) as client, pytest.raises(ServiceUnavailable):
        client.send("hello")
    assert len(Flaky.keys) == 3


def test_a_retry_waits_for_retry_after(flaky_url: str) -> None:
    Flaky.answers = [(429, "1")]
    begin = datetime.now(UTC)
    with MessageClient(flaky_url) as client:
        client.send("hello")
    assert datetime.now(UTC) - begin >= timedelta(seconds=1)


def test_a_long_retry_after_is_raised_at_once(flaky_url: str) -> None:
    Flaky.answers = [(429, "7200")]
    with MessageClient(flaky_url) as client, pytest.raises(TooMany) as refused:
        client.send("hello")
    assert refused.value.retry_after == 7200


def test_a_refused_request_is_not_retried(flaky_url: str) -> None:
    Flaky.answers = [(422, "")]
    with MessageClient(flaky_url) as client, pytest.raises(Exception, match="no"):
        client.send("hello")
    assert len(Flaky.keys) == 1
