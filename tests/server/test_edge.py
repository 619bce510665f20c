"""What the service answers before any handler: refusals like all other errors, and callers behind proxies."""

import json
import re
import resource
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.servers import Server
from loadtests import service
from tests.server.test_fast import exchange, get, post
from tests.waiting import eventually

KEY = "a-long-key"
REFUSED = {
    "no Host": (400, b"GET /messages HTTP/1.1\r\n\r\n"),
    "no HTTP": (400, b"hello\r\n\r\n"),
    "a large head": (431, b"GET / HTTP/1.1\r\nHost: lab\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"),
    "a large body": (413, post("x" * 70_000)),
    "too many fields": (400, b"GET /messages?" + b"a=b&" * 1001 + b" HTTP/1.1\r\nHost: lab\r\n\r\n"),
    "CONNECT": (405, b"CONNECT lab:80 HTTP/1.1\r\nHost: lab\r\n\r\n"),
    "a length of another script": (400, post("x").replace(b"Length: 1", b"Length: \xb2")),
}


@pytest.fixture(params=["on", "off"])
def running(request: pytest.FixtureRequest, mongodb_uri: str, shared_db: Any, tmp_path: Path) -> Any:
    """Starts the service, with the fast path and without it."""

    def running(**settings: Any) -> Any:
        place = {"mongodb_uri": mongodb_uri, "database": shared_db.name, "fast_path": request.param}
        return service.running(tmp_path / "server.log", **{**place, **settings})

    return running


def test_what_is_refused_is_a_problem_with_an_id_counted_and_logged(running: Any) -> None:
    with running(access_log="on") as server:
        for status, request in REFUSED.values():
            found, headers, body, closes = exchange(server, request)[0]
            assert (found, headers["content-type"], closes) == (status, "application/problem+json", True)
            problem = json.loads(body)
            assert problem["status"] == status
            assert len(problem["detail"]) > 20
            assert headers["x-request-id"] in eventually(server.log.read_text)
        counted = re.findall(r'_count{method="\w+",route="refused",status="400"} (\d)', _metrics(server))
        assert sum(map(int, counted)) == 4
        assert exchange(server, REFUSED["CONNECT"][1])[0][1]["allow"] == "GET, HEAD, POST"


def test_the_id_of_a_request_that_is_refused_is_its_own(running: Any) -> None:
    with running() as server:
        assert exchange(server, post("x" * 70_000, "X-Request-ID: mine"))[0][1]["x-request-id"] == "mine"


def test_without_a_key_no_body_is_kept(running: Any) -> None:
    part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"POST /messages HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running(api_keys=f"one:{KEY}") as server:
        before = psutil.Process(server.pid).memory_info().rss
        opened = [_connected(server) for _ in range(12)]
        for each in opened:
            each.sendall(head)
        for each in opened:
            for _ in range(20):
                each.sendall(part)
            each.shutdown(socket.SHUT_WR)
            with each, each.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
        assert psutil.Process(server.pid).memory_info().rss < before + 8 * 1024 * 1024
        status, *_ = exchange(server, post('{"text": "hello"}', f"Authorization: Bearer {KEY}"))[0]
        assert status == 201


def test_the_log_does_not_show_queries(running: Any) -> None:
    with running(access_log="on") as server:
        exchange(server, get("/messages?token=secret"), get("/messages?limit=secret"), get("/nothing?secret=1"))
        eventually(lambda: server.log.read_text().count('"request"') >= 3)
        assert "secret" not in server.log.read_text()


def test_callers_behind_a_trusted_proxy_are_told_apart(running: Any) -> None:
    def asked(server: Server) -> list[int]:
        callers = ["203.0.113.1", "203.0.113.1", "203.0.113.2", "203.0.113.2, 203.0.113.1"]
        return [exchange(server, get("/messages", f"X-Forwarded-For: {each}"))[0][0] for each in callers]

    with running(client_limit="1/hour", trusted_proxies="127.0.0.0/8,::1") as server:
        assert asked(server) == [200, 429, 200, 429]
    with running(client_limit="1/hour") as server:
        assert asked(server) == [200, 429, 429, 429]


def test_out_of_descriptors_it_recovers_and_hardly_logs(running: Any) -> None:
    with running() as server:
        process = psutil.Process(server.pid)
        spare = 5
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (process.num_fds() + spare, 4096))
        opened = [_connected(server) for _ in range(4 * spare)]
        eventually(lambda: "no connection can be accepted" in server.log.read_text())
        for each in opened:
            each.close()
        assert eventually(lambda: exchange(server, get())[0][0] == 200)
        assert len(server.log.read_text()) < 10_000
        assert "Traceback" not in server.log.read_text()


def _metrics(server: Server) -> str:
    return exchange(server, get("/metrics"))[0][2].decode()


def _connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)
