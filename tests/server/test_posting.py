"""`POST /messages`: what it stores, and what it refuses."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests

from harness.servers import Server
from migrations.runner import Database
from tests.server.answers import assert_problem

JSON = {"Content-Type": "application/json"}
KIB = 1024


@pytest.fixture(autouse=True)
def log_without_traceback(shared_server: Server) -> Iterator[None]:
    """Whatever a client sends, the log holds no traceback and no error."""
    yield
    log = shared_server.log.read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


def post(server: Server, body: object, headers: dict[str, str] | None = None) -> requests.Response:
    """Send `body`: bytes as they are, an iterator in chunks, all else as JSON."""
    if not isinstance(body, bytes | Iterator):
        body = json.dumps(body).encode()
    return requests.post(f"{server.url}/messages", data=body, headers=JSON if headers is None else headers)


def chunks(total: int) -> Iterator[bytes]:
    """A good message of `total` bytes, in chunks, so that its length is not announced."""
    yield b'{"text": "x"'
    yield from (b" " * min(4 * KIB, total - 13 - sent) for sent in range(0, total - 13, 4 * KIB))
    yield b"}"


# What it stores.


def test_the_answer_is_the_message_and_where_it_is(shared_server: Server) -> None:
    answer = post(shared_server, {"text": "hello", "author": "Ada"})
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/json"
    message = answer.json()
    assert re.fullmatch("[0-9a-f]{24}", message["id"])
    assert answer.headers["Location"] == f"/messages/{message['id']}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message["created_at"])
    assert abs(datetime.fromisoformat(message["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert message["seq"] >= 1
    expected = {"text": "hello", "author": "Ada", "reply_to": None, "source": "api"}
    assert {name: message[name] for name in expected} == expected


def test_it_is_stored_when_the_answer_comes(shared_server: Server, shared_db: Database) -> None:
    message = post(shared_server, {"text": "stored"}).json()
    document = shared_db.messages.find_one({"text": "stored"})
    assert document is not None
    assert str(document["_id"]) == message["id"]
    assert document["created_at"] == datetime.fromisoformat(message["created_at"])


def test_the_author_is_anonymous_unless_given(shared_server: Server) -> None:
    assert post(shared_server, {"text": "hello"}).json()["author"] == "anonymous"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("  spaces around  ", id="spaces"),
        pytest.param("two\nlines\r\nand a tab\t", id="newlines"),
        pytest.param("\N{GRINNING FACE}\N{FAMILY}", id="emoji"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("e\N{COMBINING ACUTE ACCENT} is not \N{LATIN SMALL LETTER E WITH ACUTE}", id="combining marks"),
        pytest.param("\N{RIGHT-TO-LEFT OVERRIDE}abc\N{ZERO WIDTH SPACE}", id="invisible marks"),
        pytest.param("\N{ZERO WIDTH NO-BREAK SPACE}begins with a BOM", id="BOM"),
        pytest.param('{"$gt": ""}', id="looks like an operator"),
        pytest.param("<script>alert(1)</script>", id="looks like HTML"),
        pytest.param("x", id="shortest"),
        pytest.param("\N{GRINNING FACE}" * 4000, id="longest"),
    ],
)
def test_the_text_is_kept_exactly_as_sent(shared_server: Server, text: str) -> None:
    message = post(shared_server, {"text": text}).json()
    assert message["text"] == text
    newest = requests.get(f"{shared_server.url}/messages", params={"limit": 1}).json()["messages"]
    assert newest == [message]


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON", "application/json; charset=utf-8"])
def test_json_is_taken_under_its_names(shared_server: Server, content_type: str) -> None:
    assert post(shared_server, {"text": "x"}, {"Content-Type": content_type}).status_code == 201


def test_a_body_of_64_kib_is_taken(shared_server: Server) -> None:
    assert post(shared_server, b'{"text": "x"}'.ljust(64 * KIB)).status_code == 201
    assert post(shared_server, chunks(64 * KIB)).status_code == 201


# What it refuses.

OPERATOR = {"$gt": ""}
HALF_A_PAIR = "\ud83d"


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        pytest.param({}, ["text"], id="no text"),
        pytest.param({"text": None}, ["text"], id="text is null"),
        pytest.param({"text": 1}, ["text"], id="text is a number"),
        pytest.param({"text": True}, ["text"], id="text is a boolean"),
        pytest.param({"text": ["x"]}, ["text"], id="text is a list"),
        pytest.param({"text": OPERATOR}, ["text"], id="text is an operator"),
        pytest.param({"text": ""}, ["text"], id="text is empty"),
        pytest.param({"text": " \t\r\n\N{NO-BREAK SPACE}"}, ["text"], id="text is blank"),
        pytest.param({"text": "x" * 4001}, ["text"], id="text is too long"),
        pytest.param({"text": HALF_A_PAIR}, ["text"], id="text holds a lone surrogate"),
        pytest.param({"text": "x", "author": None}, ["author"], id="author is null"),
        pytest.param({"text": "x", "author": 1}, ["author"], id="author is a number"),
        pytest.param({"text": "x", "author": OPERATOR}, ["author"], id="author is an operator"),
        pytest.param({"text": "x", "author": ""}, ["author"], id="author is empty"),
        pytest.param({"text": "x", "author": "   "}, ["author"], id="author is blank"),
        pytest.param({"text": "x", "author": "x" * 81}, ["author"], id="author is too long"),
        pytest.param({"text": "x", "author": HALF_A_PAIR}, ["author"], id="author holds a lone surrogate"),
        pytest.param({"text": "x", "reply_to": 1}, ["reply_to"], id="reply_to is a number"),
        pytest.param({"text": "x", "reply_to": OPERATOR}, ["reply_to"], id="reply_to is an operator"),
        pytest.param({"text": "x", "reply_to": "7"}, ["reply_to"], id="reply_to is no id"),
        pytest.param({"text": "x", "admin": True}, ["admin"], id="unknown field"),
        pytest.param({"text": "x", "_id": "mine"}, ["_id"], id="an id of one's own"),
        pytest.param({"text": "x", "$where": "1"}, ["$where"], id="unknown field is an operator"),
        pytest.param({"text": "x", HALF_A_PAIR: 1}, [], id="unknown field is a lone surrogate"),
        pytest.param({"text": 1, "author": 2}, ["text", "author"], id="two at once"),
    ],
)
def test_a_bad_field_is_named(
    shared_server: Server, shared_db: Database, document: dict[str, object], fields: list[str]
) -> None:
    before = shared_db.messages.count_documents({})
    said = assert_problem(post(shared_server, document), 400, *fields)
    assert all(field in said["detail"] for field in fields)
    assert shared_db.messages.count_documents({}) == before


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"text": "x"', id="not ended"),
        pytest.param(b'{"text": "x"} x', id="more after the end"),
        pytest.param(b"{'text': 'x'}", id="single quotes"),
        pytest.param(b'{"text": "two\nlines"}', id="raw newline"),
        pytest.param(b'["text"]', id="a list"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"text": NaN}', id="NaN"),
        pytest.param(b'{"text": "x", "size": -Infinity}', id="Infinity"),
        pytest.param(b'{"text": ' + b"9" * 10_000 + b"}", id="a very long number"),
        pytest.param(b'{"text": "x", "text": "y"}', id="the same key twice"),
        pytest.param(b'{"text": {"a": 1, "a": 2}}', id="the same key twice, deeper"),
        pytest.param(b'{"text": "\xff"}', id="broken UTF-8"),
        pytest.param(b'{"text": "\xed\xa0\xbd"}', id="a surrogate in UTF-8"),
        pytest.param('{"text": "x"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"[" * 60_000, id="a bomb of lists"),
        pytest.param(b'{"text":' * 8_000, id="a bomb of objects"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(shared_server: Server, shared_db: Database, body: bytes) -> None:
    before = shared_db.messages.count_documents({})
    assert_problem(post(shared_server, body), 400)
    assert shared_db.messages.count_documents({}) == before


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/jsonp", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
def test_another_type_is_refused(shared_server: Server, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    said = assert_problem(post(shared_server, {"text": "x"}, headers), 415)
    assert "application/json" in said["detail"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda: b'{"text": "x"}'.ljust(64 * KIB + 1), id="one byte too many"),
        pytest.param(lambda: bytes(2 * KIB * KIB), id="2 MiB"),
        pytest.param(lambda: chunks(64 * KIB + 1), id="one byte too many in chunks"),
        pytest.param(lambda: chunks(2 * KIB * KIB), id="2 MiB in chunks"),
    ],
)
def test_a_body_over_64_kib_is_refused(shared_server: Server, body: object) -> None:
    assert callable(body)
    said = assert_problem(post(shared_server, body()), 413)
    assert "65536 bytes" in said["detail"]
