"""`GET /messages`: the newest messages, and what it refuses."""

import pytest
import requests

from harness.servers import Server
from tests.conftest import StartServer
from tests.server.answers import assert_problem
from tests.server.conftest import Queries
from tests.waiting import eventually


def get(server: Server, query: str = "") -> requests.Response:
    return requests.get(f"{server.url}/messages{query}")


def post(server: Server, text: str) -> dict[str, object]:
    return requests.post(f"{server.url}/messages", json={"text": text}).json()


def test_without_messages_the_list_is_empty(server: Server) -> None:
    answer = get(server)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["messages"] == []


def test_the_newest_come_first(server: Server) -> None:
    posted = [post(server, f"number {number}") for number in range(25)]
    assert get(server, "?limit=1000").json()["messages"] == posted[::-1]
    assert get(server, "?limit=3").json()["messages"] == posted[:-4:-1]
    assert get(server).json()["messages"] == posted[:-21:-1]  # 20 unless told otherwise


@pytest.mark.parametrize("limit", ["1", "1000"])
def test_a_limit_of_1_to_1000_is_taken(shared_server: Server, limit: str) -> None:
    assert get(shared_server, f"?limit={limit}").status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=1001", "limit"),
        pytest.param("limit=" + "9" * 5000, "limit", id="limit=999..."),
        ("limit=", "limit"),
        ("limit", "limit"),
        ("limit=abc", "limit"),
        ("limit=1.5", "limit"),
        ("limit=5.0", "limit"),
        ("limit=1_000", "limit"),
        ("limit=%205", "limit"),
        ("limit=%FF", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit[$gt]=1", "limit[$gt]"),
        ("cursor=abc", "cursor"),
        ("after=-1", "after"),
        ("since=yesterday", "since"),
        ("since=2024-02-29T12:00:00", "since"),
        ("page=2", "page"),
    ],
)
def test_a_bad_parameter_is_named(shared_server: Server, query: str, field: str) -> None:
    said = assert_problem(get(shared_server, f"?{query}"), 400, field)
    assert field in said["detail"]


def test_without_the_cache_every_read_asks_the_database(start_server: StartServer, queries: Queries) -> None:
    server = start_server(cache="off")
    for _ in range(5):
        assert get(server).status_code == 200
    assert len(queries()) == 5


def test_with_the_cache_reads_come_from_memory_and_still_show_each_write(start_server: StartServer) -> None:
    server = start_server(cache="ttl")
    eventually(lambda: get(server).headers["Server-Timing"].startswith("db;dur=0.000,"))
    for number in range(5):
        posted = post(server, f"number {number}")
        assert get(server).json()["messages"][0] == posted
