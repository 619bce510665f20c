"""Access keys: with some, a caller proves who it is; without any, the service stays on this machine."""

import pytest
import requests

from harness.servers import Server
from loadtests import service
from tests.conftest import StartServer
from tests.server.answers import assert_problem

KEYS = "mia:a-key-of-mia,joe:a-key-of-joe"


@pytest.fixture
def closed(start_server: StartServer) -> Server:
    return start_server(api_keys=KEYS)


def ask(server: Server, path: str, authorization: str | None = None) -> requests.Response:
    return requests.get(server.url + path, headers={} if authorization is None else {"Authorization": authorization})


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong-key-here",
        "Basic bWlhOmEta2V5",
        "a-key-of-mia",
        "Bearer a-key-of-mi",
    ],
)
@pytest.mark.parametrize("path", ["/", "/messages", "/metrics", "/messages/" + "0" * 24])
def test_nobody_we_know_is_refused(closed: Server, path: str, authorization: str | None) -> None:
    answer = ask(closed, path, authorization)
    assert_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("authorization", ["Bearer a-key-of-mia", "bearer a-key-of-joe"])
def test_a_caller_with_a_key_is_served(closed: Server, authorization: str) -> None:
    assert ask(closed, "/messages", authorization).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_probes_need_no_key(closed: Server, path: str) -> None:
    assert ask(closed, path).status_code == 200


def test_callers_do_not_share_idempotency_keys(closed: Server) -> None:
    def post(key: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "1"}
        return requests.post(f"{closed.url}/messages", json={"text": "mine"}, headers=headers)

    assert post("a-key-of-mia").json()["id"] != post("a-key-of-joe").json()["id"]
    assert post("a-key-of-mia").headers["Idempotency-Replayed"] == "true"


def test_keys_are_not_logged(start_server: StartServer) -> None:
    server = start_server(api_keys=KEYS, access_log="on")
    for key in ("a-key-of-mia", "a-key-of-nobody"):
        ask(server, "/messages", f"Bearer {key}")
    assert service.stop(server) == 0
    log = server.log.read_text()
    assert log.count('"route": "/messages"') == 2
    assert "a-key-of" not in log
