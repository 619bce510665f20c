"""The open-loop generator: it sends what is due, and says what became of each request."""

import math

from harness.ports import free_port
from harness.servers import Server
from loadtests import open_loop
from loadtests.open_loop import LATE_MS, OfferedRequest, OpenLoopResult
from tests.conftest import StartServer
from tests.strange_servers import answering, http


def offer(url: str, rate: float, key: str | None = None) -> OpenLoopResult:
    address = f"{url}/messages"
    return open_loop.run(open_loop.offer(address, open_loop.post(address, key), rate, seconds=0.5, warmup=0.2))


def test_every_request_that_is_due_is_sent_and_answered(shared_server: Server) -> None:
    offered = offer(shared_server.url, rate=40)
    assert [each.status for each in offered.requests] == [201] * 20
    assert offered.per_s(201) == 40
    assert offered.p99_ms(201) > 0
    # uvloop counts time in milliseconds, and may be early by one.
    assert all(each.due - 0.002 <= each.begun <= each.answered for each in offered.requests)


def test_refusals_are_counted_apart(start_server: StartServer) -> None:
    offered = offer(start_server(write_limit="5/hour").url, rate=40)
    assert offered.per_s(429) > 0
    assert offered.per_s(201) + offered.per_s(429) == 40
    assert "got 429" in offered.void(201)


def test_each_caller_shows_its_key(start_server: StartServer) -> None:
    server = start_server(api_keys="mia:mia-has-a-key")
    assert offer(server.url, rate=20, key="mia-has-a-key").per_s(201) == 20
    assert offer(server.url, rate=20).per_s(401) == 20


def test_where_nobody_listens_nothing_is_answered() -> None:
    offered = offer(f"http://127.0.0.1:{free_port()}", rate=20)
    assert offered.void(201) == "10 of 10 requests got no answer or the like"
    assert math.isnan(offered.p99_ms(201))


def test_a_server_that_hangs_up_after_each_answer_gets_new_connections() -> None:
    with answering(http("created", 201, "Connection: close\n")) as url:
        assert offer(url, rate=20).per_s(201) == 20


def test_a_generator_that_was_late_says_so() -> None:
    late = OpenLoopResult(
        [OfferedRequest(due=1.0, begun=1.0 + 2 * LATE_MS / 1000, answered=1.2, status=201)] * 10, seconds=1.0
    )
    assert late.late() == "the generator was 100 ms late, and so the limit"
    assert late.void(201) == ""
    assert (
        OpenLoopResult([OfferedRequest(due=1.0, begun=1.001, answered=1.2, status=201)] * 10, seconds=1.0).void(201)
        == ""
    )


def test_an_answer_without_a_length_lasts_until_the_connection_ends() -> None:
    with answering(b"HTTP/1.0 201 Created\r\n\r\ncreated") as url:
        assert offer(url, rate=20).per_s(201) == 20


def test_a_chunked_answer_is_one() -> None:
    with answering(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n") as url:
        assert offer(url, rate=20).per_s(201) == 20


def test_what_is_no_http_is_no_answer() -> None:
    with answering(b"hello\r\n\r\n") as url:
        assert offer(url, rate=20).per_s(open_loop.UNANSWERED) == 20


def test_each_request_may_be_another_one() -> None:
    asked = []

    def request(number: int) -> bytes:
        asked.append(number)
        return open_loop.post(f"{url}/messages")

    with answering(http("created", 201, "Connection: close\n")) as url:
        offered = open_loop.run(open_loop.offer(url, request, rate=20, seconds=0.5, warmup=0))
    assert asked == list(range(10))
    assert offered.per_s(201) == 20
