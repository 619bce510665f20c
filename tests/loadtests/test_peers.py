"""The peers: each really started and asked, and stopped whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from harness.processes import ProgramError
from loadtests import peers
from migrations.runner import Database
from tests.waiting import eventually

BODY = b'{"messages":["the same bytes"]}'
DATABASES = ["fastapi_mongodb", "fastapi_cached", "flask_sqlite"]
CONSTANTS = [
    *["fastapi_constant", "granian_constant", "httptools_constant", "protocol_constant", "starlette_constant"],
    "tornado_constant",
]


@pytest.fixture
def variables(mongodb_uri: str, db: Database, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "body").write_bytes(BODY)
    return {
        "MONGODB_URL": mongodb_uri,
        "MONGODB_DATABASE": db.name,
        "DATABASE": str(tmp_path / "messages.sqlite"),
        "BODY": str(tmp_path / "body"),
    }


@pytest.fixture
def url(request: pytest.FixtureRequest, variables: dict[str, str], tmp_path: Path) -> Iterator[str]:
    with peers.running(request.param, tmp_path / "peer.log", variables) as address:
        yield f"{address}/messages"


def test_every_peer_is_tested() -> None:
    assert {*DATABASES, *CONSTANTS} == set(peers.COMMANDS)


@pytest.mark.parametrize("url", DATABASES, indirect=True)
def test_a_peer_keeps_messages_and_lists_the_newest_first(url: str) -> None:
    assert requests.get(url, timeout=10).json() == {"messages": []}
    posted = [requests.post(url, json={"text": text, "author": "mia"}, timeout=10) for text in ("one", "two", "three")]
    assert [answer.status_code for answer in posted] == [201, 201, 201]
    listed = requests.get(url, params={"limit": 2}, timeout=10).json()["messages"]
    assert [message["text"] for message in listed] == ["three", "two"]
    for message, answer in zip(listed, reversed(posted), strict=False):
        same = {"id": message["id"], "text": message["text"], "author": "mia"}
        assert {name: answer.json()[name] for name in same} == same
        assert message["created_at"].endswith("Z")


@pytest.mark.parametrize("url", DATABASES, indirect=True)
def test_a_peer_takes_no_nonsense_and_needs_no_author(url: str) -> None:
    assert requests.post(url, json={"text": ""}, timeout=10).status_code in {400, 422}
    assert requests.get(url, params={"limit": 0}, timeout=10).status_code in {400, 422}
    assert requests.post(url, json={"text": "hello"}, timeout=10).json()["author"] == "anonymous"


@pytest.mark.parametrize("url", CONSTANTS, indirect=True)
def test_a_constant_is_sent_as_it_is(url: str) -> None:
    answer = requests.get(url, params={"limit": 20}, timeout=10)
    assert (answer.content, answer.headers["Content-Type"]) == (BODY, "application/json")


@pytest.mark.parametrize("peer", [*DATABASES, *CONSTANTS])
def test_a_peer_ends_with_its_block_even_if_that_fails(peer: str, variables: dict[str, str], tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    started: set[psutil.Process] = set()

    def fail_while_it_runs() -> None:
        with peers.running(peer, tmp_path / "peer.log", variables):
            started.update(set(psutil.Process().children(recursive=True)) - before)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_it_runs()
    assert started
    eventually(lambda: not any(process.is_running() for process in started))


def test_a_peer_that_cannot_start_says_why(variables: dict[str, str], tmp_path: Path) -> None:
    variables["BODY"] = str(tmp_path / "nothing-here")
    with (
        pytest.raises(ProgramError, match=r"(?s)tornado_constant did not start: .*nothing-here"),
        peers.running("tornado_constant", tmp_path / "peer.log", variables),
    ):
        pass
