"""What holds for the whole HTTP interface: routes, methods, headers, health, metrics and the log."""

import json
import re
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from harness import mongod
from harness.servers import Server
from loadtests import service
from migrations.runner import Database
from server import __version__
from tests.conftest import StartServer
from tests.processes import kill, mongod_of, stopped
from tests.server.answers import assert_problem
from tests.waiting import eventually

PATHS = ["/", "/messages", "/healthz", "/readyz", "/metrics", "/openapi.json"]


def ask(server: Server, path: str, method: str = "GET", **more: object) -> requests.Response:
    return requests.request(method, server.url + path, **more)


# The front page.


def test_the_front_page_greets_and_its_links_work(shared_server: Server) -> None:
    said = ask(shared_server, "/").json()
    assert said["service"] == "backend-lab"
    assert said["version"] == __version__
    assert said["greeting"]
    for link in said["links"].values():
        assert ask(shared_server, link).status_code == 200


def test_each_visit_is_stored_before_it_is_answered(server: Server, migrated: Database) -> None:
    for visits in range(1, 6):
        assert ask(server, "/").status_code == 200
        assert migrated.visits.count_documents({}) == visits


# Routes and methods.


@pytest.mark.parametrize("path", ["/nothing", "/messages/", "//", "/%FF", "/%00", "/\N{GRINNING FACE}"])
@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
def test_what_is_not_there_is_404(shared_server: Server, path: str, method: str) -> None:
    assert_problem(ask(shared_server, path, method), 404)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", PATHS)
def test_what_cannot_be_done_is_405_and_names_what_can(shared_server: Server, path: str, method: str) -> None:
    answer = ask(shared_server, path, method)
    assert_problem(answer, 405)
    expected = {"GET", "HEAD", "POST"} if path == "/messages" else {"GET", "HEAD"}
    assert set(answer.headers["Allow"].split(", ")) == expected


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_head_is_get_without_the_body(shared_server: Server, path: str) -> None:
    get, head = ask(shared_server, path), ask(shared_server, path, "HEAD")
    assert head.status_code == get.status_code
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert int(head.headers["Content-Length"]) > 0
    assert head.content == b""


# Headers.


@pytest.mark.parametrize("path", ["/", "/nothing"])
@pytest.mark.parametrize("given", ["abc", "A1.b_c-d", "x" * 128])
def test_a_sane_request_id_comes_back(shared_server: Server, path: str, given: str) -> None:
    assert ask(shared_server, path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", [None, "", "a b", "a,b", '{"a": 1}', "x" * 129, b"\xff"])
def test_any_other_is_replaced(shared_server: Server, given: str | bytes | None) -> None:
    answers = [ask(shared_server, "/healthz", headers={"X-Request-ID": given}) for _ in range(2)]
    first, second = [answer.headers["X-Request-ID"] for answer in answers]
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


@pytest.mark.parametrize("path", ["/", "/readyz", "/healthz", "/metrics", "/nothing"])
def test_server_timing_tells_database_from_the_rest(shared_server: Server, path: str) -> None:
    timing = ask(shared_server, path).headers["Server-Timing"]
    found = re.fullmatch(r"db;dur=([\d.]+), app;dur=([\d.]+)", timing)
    assert found is not None
    db, app = map(float, found.groups())
    assert (db > 0) == (path in ("/", "/readyz"))
    assert app > 0


# Health.


def test_healthy_and_ready(shared_server: Server) -> None:
    for path in ("/healthz", "/readyz"):
        assert ask(shared_server, path).status_code == 200


def test_not_ready_while_the_database_does_not_answer(data_dir: Path, tmp_path: Path) -> None:
    with service.running(tmp_path / "server.log", data_dir=data_dir) as server:
        with stopped(mongod_of(data_dir)):
            answer = ask(server, "/readyz", timeout=5)  # the contract says 1 s; the rest is for slow machines
            assert_problem(answer, 503)
            assert int(answer.headers["Retry-After"]) >= 1
            assert ask(server, "/healthz").status_code == 200
        eventually(lambda: ask(server, "/readyz").status_code == 200)
        kill(mongod_of(data_dir))
        answer = ask(server, "/readyz", timeout=5)
        assert_problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
        assert "Traceback" not in server.log.read_text()


def test_a_write_that_timed_out_is_not_said_to_be_undone_and_the_next_ones_work(data_dir: Path, tmp_path: Path) -> None:
    with (
        mongod.running(data_dir) as uri,
        service.running(tmp_path / "server.log", mongodb_uri=f"{uri}&timeoutMS=1000") as server,
    ):
        ask(server, "/messages", "POST", json={"text": "opens the connection"})
        with stopped(mongod_of(data_dir)):
            answer = ask(server, "/messages", "POST", json={"text": "on its way"})
        said = assert_problem(answer, 503)
        # It may be stored yet: the caller is told how to find out without storing it twice.
        assert said["detail"].endswith("try again, with the same Idempotency-Key if you wrote")
        eventually(lambda: ask(server, "/messages", "POST", json={"text": "afterwards"}).status_code == 201)
        eventually(lambda: "afterwards" in ask(server, "/messages").text)


# Metrics and the log.


def test_invented_methods_are_counted_as_one(server: Server) -> None:
    for method in ("BREW", "STEW"):
        ask(server, "/messages", method)
    counted = re.findall(r'_count{method="(\w+)",route="/messages",status="405"} (\S+)', ask(server, "/metrics").text)
    assert counted == [("other", "2.0")]


def test_metrics_count_requests_by_method_route_and_status(server: Server) -> None:
    for _ in range(3):
        ask(server, "/messages")
    ask(server, "/messages", "POST", json={"text": "x"})
    ask(server, "/messages", "POST", data="x")
    ask(server, "/secret/path")
    text = ask(server, "/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    counts = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in samples
        if sample.name == "http_request_duration_seconds_count"
    }
    assert counts == {
        ("GET", "/messages", "200"): 3,
        ("POST", "/messages", "201"): 1,
        ("POST", "/messages", "415"): 1,
        ("GET", "unknown", "404"): 1,
    }
    waited = {sample.labels["route"]: sample.value for sample in samples if "database_seconds_total" in sample.name}
    assert waited["/messages"] > 0
    assert [sample.value for sample in samples if sample.name == "http_requests_in_flight"] == [1]
    assert "event_loop_lag_seconds_count" in {sample.name for sample in samples}


def test_each_request_is_a_line_in_the_log_without_its_text(start_server: StartServer) -> None:
    server = start_server(access_log="on")
    ask(server, "/messages", "POST", json={"text": "a secret"}, headers={"X-Request-ID": "good"})
    ask(server, "/messages", "POST", json={"text": "a secret", "a secret": 1}, headers={"X-Request-ID": "bad"})
    ask(server, "/messages?limit=a+secret", headers={"X-Request-ID": "query"})
    eventually(lambda: '"query"' in server.log.read_text())  # written after the answer
    log = server.log.read_text()
    lines = {line["request_id"]: line for line in map(json.loads, log.splitlines()) if "request_id" in line}
    assert "secret" not in log
    assert "Traceback" not in log
    assert {id: (line["method"], line["route"], line["status"]) for id, line in lines.items()} == {
        "good": ("POST", "/messages", 201),
        "bad": ("POST", "/messages", 400),
        "query": ("GET", "/messages", 400),
    }
    assert lines["good"]["ms"] >= lines["good"]["db_ms"] > 0


def test_the_log_of_requests_can_be_switched_off(start_server: StartServer) -> None:
    server = start_server(access_log="off")
    ask(server, "/messages")
    ask(server, "/nothing")
    assert service.stop(server) == 0  # a line is written after the answer
    assert "request_id" not in server.log.read_text()
