"""Lists beyond the newest: older pages, since a time, after a cursor, replies; ETag and Lab-Seen."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from bson import ObjectId

from harness.servers import Server
from migrations.runner import Database
from tests.conftest import StartServer
from tests.server.answers import assert_problem

THEN = datetime(2024, 2, 29, 12, 0, 0, 123000, UTC)


def get(server: Server, path: str = "/messages", headers: dict[str, str] | None = None, **params: Any) -> Any:
    answer = requests.get(server.url + path, params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(server: Server, **body: Any) -> dict[str, Any]:
    answer = requests.post(f"{server.url}/messages", json={"text": "x"} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def numbered(db: Database, *times: datetime) -> list[str]:
    """Store messages of these times as the service does, numbered in order; returns their ids, newest first."""
    documents = [
        {"_id": ObjectId(), "text": f"number {seq}", "author": "anonymous", "created_at": time, "seq": seq}
        for seq, time in enumerate(times, start=1)
    ]
    db.messages.insert_many(documents)
    db.counters.insert_one({"_id": "messages", "seq": len(times), "at": times[-1], "complete": 0})
    return [str(document["_id"]) for document in reversed(documents)]


def ids(page: dict[str, Any]) -> list[str]:
    return [message["id"] for message in page["messages"]]


def pages(server: Server, path: str = "/messages", **params: Any) -> list[dict[str, Any]]:
    """All pages of a list, following `next`."""
    found = [get(server, path, **params)]
    while found[-1]["next"] is not None:
        found.append(get(server, path, **params, cursor=found[-1]["next"]))
    return found


# Older pages.


def test_a_hundred_messages_of_one_millisecond_are_paged_without_loss_or_repeat(
    migrated: Database, start_server: StartServer
) -> None:
    stored = numbered(migrated, *[THEN] * 100)
    found = pages(start_server(), limit=7)
    assert [id for page in found for id in ids(page)] == stored
    assert [len(page["messages"]) for page in found] == [7] * 14 + [2]


def test_pages_stay_what_they_were_while_others_write(server: Server) -> None:
    stored = [post(server, text=f"number {number}")["id"] for number in range(6)]
    first = get(server, limit=3)
    post(server, text="meanwhile")
    second = get(server, limit=3, cursor=first["next"])
    assert ids(first) + ids(second) == stored[::-1]
    assert second["next"] is None


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "5", "5~6", "5~5~5", "05~5", "~", "5~5 ", "1e3~1e3", "9" * 16 + "~" + "9" * 16, "u12~u12", "[$gt]"],
)
@pytest.mark.parametrize("parameter", ["cursor", "after"])
def test_a_broken_cursor_is_refused(shared_server: Server, parameter: str, cursor: str) -> None:
    answer = requests.get(f"{shared_server.url}/messages", params={parameter: cursor})
    assert_problem(answer, 400, parameter)


def test_unnumbered_messages_of_an_older_version_are_paged_too(migrated: Database, start_server: StartServer) -> None:
    old = [{"_id": ObjectId(), "text": "old"} for _ in range(3)]
    timed = [{"_id": ObjectId(), "text": "timed", "created_at": THEN} for _ in range(4)]
    migrated.messages.insert_many([*old, *timed])
    server = start_server()
    new = post(server)
    found = [id for page in pages(server, limit=2) for id in ids(page)]
    assert found == [new["id"], *(str(each["_id"]) for each in [*timed[::-1], *old[::-1]])]


def test_a_database_without_any_number_is_read(migrated: Database, start_server: StartServer) -> None:
    old = [{"_id": ObjectId(), "text": "old"} for _ in range(5)]
    migrated.messages.insert_many(old)
    server = start_server()
    found = [id for page in pages(server, limit=2) for id in ids(page)]
    assert found == [str(each["_id"]) for each in old[::-1]]


# Since a time.


def test_since_lists_what_was_created_then_or_later(migrated: Database, start_server: StartServer) -> None:
    stored = numbered(migrated, *[THEN + timedelta(milliseconds=each) for each in (-1, 0, 0, 1, 2)])
    server = start_server()
    assert ids(get(server, since=THEN.isoformat())) == stored[:4]
    assert [id for page in pages(server, since=THEN.isoformat(), limit=3) for id in ids(page)] == stored[:4]
    assert get(server, since="2999-01-01T00:00:00Z")["messages"] == []


def test_a_next_page_since_a_time_needs_the_cursor_only(migrated: Database, start_server: StartServer) -> None:
    stored = numbered(migrated, *[THEN + timedelta(seconds=each) for each in range(5)])
    server = start_server()
    first = get(server, since=(THEN + timedelta(seconds=2)).isoformat(), limit=2)
    assert ids(first) + ids(get(server, cursor=first["next"])) == stored[:3]


@pytest.mark.parametrize(
    "since",
    [
        "2024-02-29T13:00:00.123+01:00",
        "2024-02-29T12:00:00.123Z",
        "2024-02-29t12:00:00.123456789z",
        "2024-02-29 07:00:00.123-05:00",
    ],
)
def test_a_time_may_have_any_offset(migrated: Database, start_server: StartServer, since: str) -> None:
    stored = numbered(migrated, THEN - timedelta(milliseconds=1), THEN)
    assert ids(get(start_server(), since=since)) == stored[:1]


@pytest.mark.parametrize(
    ("since", "cure"),
    [
        ("2024-02-29T12:00:00", "+02:00"),
        ("2024-02-29", "+02:00"),
        ("2023-02-29T12:00:00Z", "calendar"),
        ("2024-02-29T25:00:00Z", "calendar"),
        ("2024-02-29T12:00:00 02:00", "%2B"),
        ("yesterday", "2024-02-29T12:00:00Z"),
        ("1709208000", "2024-02-29T12:00:00Z"),
        ("", "2024-02-29T12:00:00Z"),
        ('{"$gt": ""}', "2024-02-29T12:00:00Z"),
    ],
)
def test_a_bad_time_is_answered_with_its_cure(shared_server: Server, since: str, cure: str) -> None:
    said = assert_problem(requests.get(f"{shared_server.url}/messages", params={"since": since}), 400, "since")
    assert cure in said["detail"]


def test_an_unescaped_plus_is_named(shared_server: Server) -> None:
    answer = requests.get(f"{shared_server.url}/messages?since=2024-02-29T12:00:00+02:00")
    assert "%2B" in assert_problem(answer, 400, "since")["detail"]


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2016-12-31T23:59:60Z"])
def test_times_at_the_ends_of_the_calendar_are_times(shared_server: Server, since: str) -> None:
    assert requests.get(f"{shared_server.url}/messages", params={"since": since}).status_code == 200


# After a cursor.


def test_after_lists_what_came_later_oldest_first(server: Server) -> None:
    post(server)
    begin = get(server)["newest"]
    assert get(server, after=begin) == {"messages": [], "next": None, "newest": begin}
    stored = [post(server, text=f"number {number}") for number in range(5)]
    first = get(server, after=begin, limit=3)
    second = get(server, after=first["newest"], limit=3)
    assert first["messages"] + second["messages"] == stored
    assert get(server, after=second["newest"])["messages"] == []


# Replies.


def test_a_message_comes_with_its_first_hundred_replies(server: Server) -> None:
    question = post(server, text="who comes?")
    replies = [post(server, text=f"me, and {number}", reply_to=question["id"]) for number in range(103)]
    post(server, text="a reply to a reply", reply_to=replies[0]["id"])
    thread = get(server, f"/messages/{question['id']}")
    assert {name: thread[name] for name in question} == question
    assert thread["replies"] == replies[:100]
    rest = get(server, f"/messages/{question['id']}/replies", cursor=thread["next"])
    assert rest == {"messages": replies[100:], "next": None}
    paged = pages(server, f"/messages/{question['id']}/replies", limit=40)
    assert [message for page in paged for message in page["messages"]] == replies


def test_an_id_in_capitals_is_the_same_id(server: Server) -> None:
    message = post(server)
    assert get(server, f"/messages/{message['id'].upper()}")["id"] == message["id"]


@pytest.mark.parametrize("path", ["/messages/{id}", "/messages/{id}/replies"])
@pytest.mark.parametrize("id", ["0" * 24, "0" * 23, "0" * 25, "g" * 24, "{'$gt':''}", "%00"])
def test_an_unknown_message_is_404(shared_server: Server, path: str, id: str) -> None:
    assert_problem(requests.get(shared_server.url + path.replace("{id}", id)), 404)


def test_a_void_number_is_no_message(migrated: Database, server: Server) -> None:
    id = migrated.messages.insert_one({"seq": 1, "void": True}).inserted_id
    assert_problem(requests.get(f"{server.url}/messages/{id}"), 404)


def test_a_reply_to_nothing_is_422(shared_server: Server) -> None:
    answer = requests.post(f"{shared_server.url}/messages", json={"text": "x", "reply_to": "0" * 24})
    assert_problem(answer, 422, "reply_to")


@pytest.mark.parametrize("reply_to", ["", "12", "g" * 24, "0" * 25, 7, {"$gt": ""}, []])
def test_a_reply_to_no_id_is_400(shared_server: Server, reply_to: object) -> None:
    answer = requests.post(f"{shared_server.url}/messages", json={"text": "x", "reply_to": reply_to})
    assert_problem(answer, 400, "reply_to")


# What a caller has already.


@pytest.mark.parametrize("cache", ["off", "ttl"])
def test_a_list_that_is_still_the_same_is_304(start_server: StartServer, cache: str) -> None:
    server = start_server(cache=cache)
    post(server)
    etag = requests.get(f"{server.url}/messages").headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        same = requests.get(f"{server.url}/messages", headers={"If-None-Match": known})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    post(server)
    changed = requests.get(f"{server.url}/messages", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_with_the_cache_a_304_does_not_touch_the_database(server: Server) -> None:
    post(server)
    etag = requests.get(f"{server.url}/messages").headers["ETag"]
    same = requests.get(f"{server.url}/messages", headers={"If-None-Match": etag})
    assert same.status_code == 304
    assert same.headers["Server-Timing"].startswith("db;dur=0.000,")


def test_what_a_caller_has_seen_is_in_every_answer_of_every_worker(start_server: StartServer) -> None:
    one, other = start_server(), start_server()
    for number in range(20):
        get(other)  # fills its cache
        answer = requests.post(f"{one.url}/messages", json={"text": f"number {number}"})
        seen = {"Lab-Seen": answer.headers["Lab-Seen"]}
        assert int(seen["Lab-Seen"]) >= answer.json()["seq"]
        assert get(other, headers=seen, limit=1)["messages"] == [answer.json()]


@pytest.mark.parametrize("seen", ["-1", "abc", "1.5", "9" * 16, "1, 2"])
def test_a_lab_seen_of_nobody_is_refused(shared_server: Server, seen: str) -> None:
    assert_problem(requests.get(f"{shared_server.url}/messages", headers={"Lab-Seen": seen}), 400, "Lab-Seen")


def test_a_lab_seen_from_elsewhere_gets_all_there_is(server: Server) -> None:
    message = post(server)
    assert get(server, headers={"Lab-Seen": "999999"})["messages"] == [message]


# Idempotency keys.


def keyed(server: Server, key: str, **body: Any) -> requests.Response:
    return requests.post(f"{server.url}/messages", json={"text": "once"} | body, headers={"Idempotency-Key": key})


def test_a_repeated_request_gets_the_first_answer_again(server: Server) -> None:
    key = str(uuid.uuid4())
    first, second = keyed(server, key), keyed(server, key)
    assert "Idempotency-Replayed" not in first.headers
    assert (second.status_code, second.json(), second.headers["Location"]) == (
        201,
        first.json(),
        first.headers["Location"],
    )
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(get(server)["messages"]) == 1


def test_the_same_key_with_another_message_is_422(server: Server) -> None:
    keyed(server, "key")
    assert_problem(keyed(server, "key", text="twice"), 422, "Idempotency-Key")
    assert_problem(keyed(server, "key", author="somebody else"), 422, "Idempotency-Key")
    assert len(get(server)["messages"]) == 1


@pytest.mark.parametrize("key", ["", "é", "x" * 256, "a\tb"])
def test_a_key_that_cannot_be_one_is_refused(shared_server: Server, key: str) -> None:
    assert_problem(keyed(shared_server, key), 400, "Idempotency-Key")
