"""MessageClient against the real service."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from client import Message, MessageClient
from harness.servers import Server
from migrations.runner import Database
from server import __version__

DOCUMENT = {
    "id": "5f" * 12,
    "text": "hello",
    "author": "mia",
    "created_at": "2024-02-29T12:00:00.123Z",
    "reply_to": None,
    "source": "sms",
    "seq": 7,
}
MESSAGE = Message("5f" * 12, "hello", "mia", datetime(2024, 2, 29, 12, 0, 0, 123_000, tzinfo=UTC), source="sms", seq=7)


@pytest.fixture
def client(shared_server: Server) -> Iterator[MessageClient]:
    with MessageClient(shared_server.url) as client:
        yield client


def test_hello_says_who_answers_and_counts_as_a_visit(client: MessageClient, shared_db: Database) -> None:
    before = shared_db.visits.count_documents({})
    greeting = client.hello()
    assert greeting["service"] == "backend-lab"
    assert greeting["version"] == __version__
    assert shared_db.visits.count_documents({}) == before + 1


def test_what_is_sent_is_what_is_read(client: MessageClient) -> None:
    before = datetime.now(UTC)
    sent = client.send("  zwei\n\tZeilen \N{GRINNING FACE}", author="mia")
    assert sent.text == "  zwei\n\tZeilen \N{GRINNING FACE}"
    assert sent.author == "mia"
    assert sent.source == "api"
    assert sent.reply_to is None
    assert sent.created_at.utcoffset() == timedelta(0)
    assert abs(sent.created_at - before) < timedelta(minutes=1)
    assert client.recent(limit=1) == [sent]


def test_numbers_grow_in_the_order_in_which_messages_are_stored(client: MessageClient) -> None:
    first, second = client.send("first"), client.send("second")
    assert first.seq < second.seq


def test_without_an_author_it_is_anonymous(client: MessageClient) -> None:
    assert client.send("who was that?").author == "anonymous"


def test_recent_is_newest_first_and_as_many_as_asked_for(client: MessageClient) -> None:
    texts = [client.send(f"number {number}").text for number in range(25)]
    newest = [message.text for message in client.recent(limit=25)]
    assert newest == texts[::-1]
    assert [message.text for message in client.recent(limit=3)] == newest[:3]
    assert [message.text for message in client.recent()] == newest[:20]


def test_a_slash_at_the_end_of_the_address_does_not_matter(shared_server: Server) -> None:
    with MessageClient(shared_server.url + "/") as client:
        assert client.send("hello") in client.recent()


def test_a_session_of_ones_own_is_used(shared_server: Server) -> None:
    seen: list[str] = []
    with requests.Session() as session:
        session.hooks["response"].append(
            lambda answer, **_: seen.append(f"{answer.request.method} {answer.status_code}")
        )
        client = MessageClient(shared_server.url, session=session)
        client.send("hello")
        client.recent()
    assert seen == ["POST 201", "GET 200"]


def test_a_message_is_read_from_json() -> None:
    assert Message.from_json(DOCUMENT) == MESSAGE


def test_unknown_fields_of_a_newer_service_are_ignored() -> None:
    assert Message.from_json(DOCUMENT | {"likes": [], "colour": None}) == MESSAGE


def test_fields_that_an_older_service_does_not_send_have_defaults() -> None:
    older = {name: DOCUMENT[name] for name in ("id", "text", "author", "created_at")}
    assert Message.from_json(older) == replace(MESSAGE, source="api", seq=0)
