"""Documents that the service cannot have written stand among the messages: they are passed over, counted and named."""

import math
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from bson import Decimal128, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from harness.servers import Server
from migrations.runner import Database
from tests.conftest import StartServer
from tests.waiting import eventually

NOW = datetime.now(UTC)
YEAR_10000 = DatetimeMS(253402300800000)
# What is wrong with each, and whether it has a number of its own; the others have none that counts.
ODD: dict[str, tuple[dict[str, Any], bool]] = {
    "no text": ({"text": None}, True),
    "a text that is a number": ({"text": 7}, True),
    "an author that is an object": ({"author": {"name": "mia"}}, True),
    "a time that is a string": ({"created_at": "yesterday"}, True),
    "the year 10000": ({"created_at": YEAR_10000}, True),
    "a source of somebody else": ({"source": "fax"}, True),
    "a number with a fraction": ({"seq": 2.5}, False),
    "a number with a fraction, by a shell": ({"seq": Decimal128("2.50")}, False),
    "a number without end": ({"seq": math.inf}, False),
    "a time of MongoDB's own": ({"seq": None, "created_at": Timestamp(1, 1)}, False),
    "a number that is a string": ({"seq": "3"}, False),
    "no number, and no text": ({"seq": None, "text": None}, False),
    "void without a number": ({"seq": None, "void": True, "text": None}, False),
}


def ask(server: Server, path: str = "/messages", **parameters: Any) -> dict[str, Any]:
    answer = requests.get(server.url + path, params=parameters, timeout=20)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def texts(found: dict[str, Any]) -> list[str]:
    return [each["text"] for each in found["messages"]]


def send(server: Server, text: str, **more: str) -> dict[str, Any]:
    answer = requests.post(f"{server.url}/messages", json={"text": text, **more}, timeout=20)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("cache", ["off", "tail"])
@pytest.mark.parametrize("name", ODD)
def test_it_breaks_no_list(start_server: StartServer, migrated: Database, name: str, cache: str) -> None:
    before = start_server()
    first = send(before, "first")
    send(before, "a reply", reply_to=first["id"])
    given, is_numbered = ODD[name]
    odd: dict[str, Any] = {"_id": ObjectId(), "text": "odd", "author": "x", "created_at": NOW, "seq": 3} | given
    odd["reply_to"] = ObjectId(first["id"])
    odd = {field: value for field, value in odd.items() if value is not None}
    migrated.messages.insert_one(odd)
    if is_numbered:
        migrated.counters.update_one({"_id": "messages"}, {"$set": {"seq": 3}})

    server = start_server(cache=cache)
    send(server, "last")
    assert texts(ask(server)) == ["last", "a reply", "first"]
    assert texts(ask(server, limit=1)) == ["last"]
    one, paged = ask(server, limit=1), []
    while one:
        paged += texts(one)
        one = ask(server, limit=1, cursor=one["next"]) if one["next"] else {}
    assert paged == ["last", "a reply", "first"]
    followed = ask(server, after="0~0", limit=1)
    while texts(followed)[-1:] != ["last"]:
        paged += texts(followed)
        followed = ask(server, after=followed["newest"], limit=1)
    assert paged[3:] == ["first", "a reply"]
    assert texts(ask(server, since="2000-01-01T00:00:00Z")) == ["last", "a reply", "first"]
    assert [each["text"] for each in ask(server, f"/messages/{first['id']}")["replies"]] == ["a reply"]
    assert requests.get(f"{server.url}/messages/{odd['_id']}", timeout=20).status_code == 404

    metrics = requests.get(f"{server.url}/metrics", timeout=20).text
    found = re.search(r"^documents_passed_over (\d+)", metrics, re.MULTILINE)
    assert found is not None
    assert int(found[1]) == 1
    said = [line for line in server.log.read_text().splitlines() if str(odd["_id"]) in line]
    assert len(said) == 1
    assert "is passed over" in said[0]
    assert "Traceback" not in server.log.read_text()


def test_the_cache_goes_on_when_one_is_stored(start_server: StartServer, migrated: Database) -> None:
    server = start_server()
    send(server, "first")
    migrated.counters.update_one({"_id": "messages"}, {"$set": {"seq": 2}})
    migrated.messages.insert_one({"seq": 2, "created_at": YEAR_10000})
    send(server, "last")
    eventually(lambda: texts(ask(server)) == ["last", "first"])
    assert "read from the database for now" not in server.log.read_text()


@pytest.mark.parametrize("number", [1.0, Decimal128("1")])
def test_numbers_of_a_javascript_shell_are_numbers(
    start_server: StartServer, migrated: Database, number: float | Decimal128
) -> None:
    migrated.counters.insert_one({"_id": "messages", "seq": 1.0})
    migrated.messages.insert_one({"text": "by hand", "seq": number, "created_at": NOW})
    server = start_server()
    assert send(server, "last")["seq"] == 2
    assert [(each["text"], each["seq"]) for each in ask(server)["messages"]] == [("last", 2), ("by hand", 1)]
