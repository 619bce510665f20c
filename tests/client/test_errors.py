"""The exceptions that MessageClient raises."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from client import ClientError, MessageClient, NotFound, Refused, ServiceUnavailable, TooMany
from harness import mongod
from harness.ports import free_port
from harness.servers import Server
from loadtests import service
from tests.conftest import StartServer
from tests.processes import mongod_of
from tests.strange_servers import answering, http, silent

# The first error is to be seen, not the last; tests/client/test_verbs.py has what is tried again.
asking = partial(MessageClient, retries=0)

Verb = Callable[[MessageClient], object]


def test_the_tree_of_errors() -> None:
    assert issubclass(ServiceUnavailable, ClientError)
    assert issubclass(Refused, ClientError)
    assert issubclass(TooMany, Refused)
    assert issubclass(NotFound, Refused)


# The service is not there.


@pytest.mark.parametrize("verb", [MessageClient.hello, MessageClient.recent, lambda client: client.send("hello")])
def test_nobody_listens(verb: Verb) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with asking(url) as client, pytest.raises(ServiceUnavailable, match=url):
        verb(client)


def test_nobody_answers_in_time() -> None:
    with silent() as url, asking(url, timeout=0.1) as client, pytest.raises(ServiceUnavailable, match=url):
        client.recent()


def test_the_database_is_away(data_dir: Path, tmp_path: Path) -> None:
    with mongod.running(data_dir) as uri:
        impatient = f"{uri}&timeoutMS=500"
        with (
            service.running(tmp_path / "server.log", mongodb_uri=impatient, cache="off") as server,
            asking(server.url) as client,
        ):
            assert client.recent() == []
            mongod_of(data_dir).kill()
            with pytest.raises(ServiceUnavailable, match="503"):
                client.recent()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http("<h1>Welcome to nginx!</h1>"), id="a page"),
        pytest.param(http("<h1>Bad Gateway</h1>", 502), id="a page of a gateway"),
        pytest.param(http('{"messages": ['), id="JSON that does not end"),
        pytest.param(http("[]"), id="a list"),
        pytest.param(http(""), id="nothing in the body"),
        pytest.param(http("{}"), id="JSON of another service"),
        pytest.param(http('{"messages": [{"id": 7}]}'), id="messages of another service"),
        pytest.param(http('{"detail": "in maintenance"}', 503), id="503"),
        pytest.param(http('{"messages": []}')[:-3], id="it breaks off"),
        pytest.param(b"220 smtp.example.org ESMTP\r\n", id="no HTTP"),
        pytest.param(b"", id="it hangs up"),
    ],
)
def test_a_response_that_is_not_the_service_s(answer: bytes) -> None:
    with answering(answer) as url, asking(url) as client, pytest.raises(ServiceUnavailable):
        client.recent()


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1", "http://127.0.0.1:99999"])
def test_a_url_that_cannot_be_used(url: str) -> None:
    with asking(url) as client, pytest.raises(ClientError):
        client.recent()


# The service refuses.


@pytest.mark.parametrize(
    ("text", "author", "fields"),
    [("", None, ["text"]), (" ", None, ["text"]), ("x" * 4001, "x" * 81, ["text", "author"])],
)
def test_a_refusal_names_the_fields(shared_server: Server, text: str, author: str | None, fields: list[str]) -> None:
    with asking(shared_server.url) as client, pytest.raises(Refused) as refused:
        client.send(text, author)
    assert refused.value.status == 400
    assert [field for field, _ in refused.value.errors] == fields
    assert all(cure for _, cure in refused.value.errors)
    assert all(field in str(refused.value) for field in fields)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(shared_server: Server, limit: int) -> None:
    with asking(shared_server.url) as client, pytest.raises(Refused) as refused:
        client.recent(limit)
    assert refused.value.status == 400
    assert [field for field, _ in refused.value.errors] == ["limit"]


def test_a_4xx_without_the_members_of_a_problem_is_refused_too() -> None:
    answer = http('{"errors": ["no"]}', 403)
    with answering(answer) as url, asking(url) as client, pytest.raises(Refused, match="Forbidden") as refused:
        client.recent()
    assert refused.value.status == 403


def test_too_many_has_the_seconds_to_wait(start_server: StartServer) -> None:
    server = start_server(write_limit="1/second")
    with asking(server.url) as client, pytest.raises(TooMany) as refused:
        all(client.send("hello") for _ in range(100))
    assert refused.value.status == 429
    assert refused.value.retry_after == 1


def test_reading_is_not_limited_by_the_write_limit(start_server: StartServer) -> None:
    server = start_server(write_limit="1/hour")
    with asking(server.url) as client:
        sent = client.send("hello")
        with pytest.raises(TooMany) as refused:
            client.send("hello again")
        assert 3000 < refused.value.retry_after <= 3600
        assert client.recent() == [sent]


def test_what_was_refused_is_not_stored(shared_server: Server) -> None:
    with asking(shared_server.url) as client:
        sent = client.send("hello")
        with pytest.raises(Refused):
            client.send("")
        assert client.recent(limit=1) == [sent]
