"""wrk: what it prints becomes numbers, and what is no speed is called so."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from harness.ports import free_port
from harness.servers import Server
from loadtests import wrk
from loadtests.wrk import WrkError

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt-get install wrk")

PRINTED = """\
Running 2s test @ http://127.0.0.1:42209/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    18.81ms    2.07ms  29.39ms   80.29%
    Req/Sec     3.40k   233.67     3.80k    85.00%
  Latency Distribution
     50%  812.00us
     75%   19.63ms
     90%   20.80ms
     99%    1.26s\x20
  6768 requests in 2.00s, 13.95MB read
{complaints}Requests/sec:   3382.36
Transfer/sec:      6.97MB
"""
ERRORS = "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
REFUSED = "  Non-2xx or 3xx responses: 2715\n"


def printed(complaints: str = "") -> str:
    return PRINTED.format(complaints=complaints)


def test_numbers_have_their_units() -> None:
    measured = wrk.parse(printed())
    assert (measured.requests, measured.seconds, measured.requests_per_s) == (6768, 2.0, 3382.36)
    assert (measured.p50_ms, measured.p90_ms, measured.p99_ms) == pytest.approx((0.812, 20.80, 1260.0))
    assert (measured.refused, measured.socket_errors, measured.void) == (0, 0, "")


def test_refusals_are_no_speed() -> None:
    measured = wrk.parse(printed(REFUSED))
    assert (measured.refused, measured.socket_errors) == (2715, 0)
    assert measured.void == "2715 of 6768 answers were not 2xx"


@pytest.mark.parametrize("complaints", [ERRORS, ERRORS + REFUSED])
def test_errors_of_all_kinds_add_up(complaints: str) -> None:
    measured = wrk.parse(printed(complaints))
    assert measured.socket_errors == 4321
    assert measured.void == "4321 socket errors or timeouts"


def test_nothing_answered_is_no_speed() -> None:
    assert wrk.parse(printed().replace("6768 requests", "0 requests")).void == "nothing was answered"


@pytest.mark.parametrize("missing", ["6768 requests", "Requests/sec", "99%"])
def test_what_wrk_does_not_print_is_refused(missing: str) -> None:
    with pytest.raises(WrkError, match="not what wrk prints"):
        wrk.parse(printed().replace(missing, ""))


def test_without_wrk_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WrkError, match="apt-get install wrk"):
        wrk.program()


@needs_wrk
def test_where_nobody_listens_it_says_what_wrk_said() -> None:
    with pytest.raises(WrkError, match="unable to connect"):
        wrk.run(f"http://127.0.0.1:{free_port()}/", seconds=1, connections=1)


@needs_wrk
@pytest.mark.parametrize(
    ("sends", "path"), [("read", "/messages"), ("post", "/messages"), ("mixed", "/messages?limit=2")]
)
def test_what_it_sends_is_accepted(shared_server: Server, sends: str, path: str) -> None:
    measured = wrk.run(f"{shared_server.url}{path}", seconds=1, connections=2, sends=sends)
    assert measured.void == ""
    assert measured.requests > 0


@contextmanager
def keeping_heads(heads: list[bytes]) -> Iterator[str]:
    """The URL of a server that answers everything and appends each request's head to `heads`, names in lower case."""

    class Keeper(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            heads.append(b"\n".join(f"{name.lower()}: {value}".encode() for name, value in self.headers.items()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not to the tests' output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeper) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()


@needs_wrk
def test_heads_are_equal_or_all_differ() -> None:
    equal: list[bytes] = []
    with keeping_heads(equal) as url:
        wrk.run(f"{url}/", seconds=1, connections=2)
    assert len(equal) > 2
    assert len(set(equal)) == 1

    differing: list[bytes] = []
    with keeping_heads(differing) as url:
        measured = wrk.run(f"{url}/", seconds=1, connections=2, sends="read with differing heads")
    assert measured.void == ""
    assert len(set(differing)) == len(differing) > 2
    # What differs is the trace context alone, and it is well formed.
    context = re.compile(rb"traceparent: 00-[0-9a-f]{32}-00f067aa0ba902b7-01")
    assert all(context.search(head) for head in differing)
    assert len({context.sub(b"", head) for head in differing}) == 1


@needs_wrk
def test_what_is_not_found_is_void(shared_server: Server) -> None:
    measured = wrk.run(f"{shared_server.url}/nothing", seconds=1, connections=1)
    assert measured.void == f"{measured.requests} of {measured.requests} answers were not 2xx"
