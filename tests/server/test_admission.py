"""What is let in: exactly as many as the limits say; and what a refusal tells."""

import contextlib

import pytest
import requests

from harness.servers import Server
from server.admission import Admission, MovingWindow
from server.messages import OverLimit, Overloaded
from tests.conftest import StartServer
from tests.server.answers import assert_problem
from tests.server.clock import Clock

# Windows of an hour do not end during a test, however slow the machine.
HOUR = 3600


@pytest.fixture
def clock() -> Clock:
    return Clock()


def admitted(window: MovingWindow, times: int, key: str = "") -> int:
    """How many of so many at once are let through."""
    count = 0
    for _ in range(times):
        with contextlib.suppress(OverLimit):
            window.admit(key)
            count += 1
    return count


def admission(write_limit: str = "off", client_limit: str = "off", max_waiting: int = 1, waiting: int = 0) -> Admission:
    return Admission(write_limit, client_limit, max_waiting, lambda: waiting)


def test_a_window_lets_exactly_its_number_through(clock: Clock) -> None:
    window = MovingWindow("writes", "5/second", clock=clock)
    assert [window.admit("").remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    assert admitted(window, 20) == 0


def test_no_window_of_its_length_lets_more_through_wherever_it_begins(clock: Clock) -> None:
    window = MovingWindow("writes", "5/second", clock=clock)
    let_through: list[float] = []
    for clock.time in [step / 100 for step in range(500)]:
        let_through += [clock.time] * admitted(window, 3)
    assert len(let_through) == 25
    assert max(sum(begin <= each < begin + 0.999 for each in let_through) for begin in let_through) == 5


def test_what_is_refused_does_not_count(clock: Clock) -> None:
    window = MovingWindow("writes", "2/second", clock=clock)
    assert admitted(window, 1000) == 2
    clock.time = 1.0
    assert admitted(window, 1000) == 2


def test_under_too_much_those_let_in_come_evenly_after_the_first_window(clock: Clock) -> None:
    window = MovingWindow("writes", "100/second", clock=clock)
    let_through: list[float] = []
    for clock.time in [step / 500 for step in range(2000)]:
        let_through += [clock.time] * admitted(window, 1)
    assert [sum(second <= each < second + 1 for each in let_through) for second in range(4)] == pytest.approx(
        [100, 100, 100, 100], abs=1
    )
    # The first hundred were let in as they came; later ones never in a crowd.
    assert let_through[99] == pytest.approx(0.2, abs=0.01)
    tenths = [sum(begin / 10 <= each < (begin + 1) / 10 for each in let_through) for begin in range(11, 40)]
    assert max(tenths) <= 15


def test_who_waits_as_told_may_send_a_whole_window_s_worth_at_once(clock: Clock) -> None:
    window = MovingWindow("client", "100/second", clock=clock)
    assert admitted(window, 101) == 100
    clock.time = 1.0
    assert admitted(window, 100) == 100


def test_each_caller_has_a_window_of_its_own_and_is_forgotten_when_it_stays_away(clock: Clock) -> None:
    window = MovingWindow("client", "2/second", clock=clock)
    assert [admitted(window, 5, key) for key in ("ada", "bob", "ada")] == [2, 2, 0]
    clock.time = 100.0
    assert admitted(window, 5, "eve") == 2
    assert window.callers == 1


def test_workers_share_a_rate() -> None:
    assert admitted(MovingWindow("writes", "9/hour", workers=3), 20) == 3
    assert admitted(MovingWindow("writes", "2/hour", workers=3), 20) == 1


def test_a_refusal_says_what_was_allowed_and_when_to_come_back() -> None:
    window = MovingWindow("writes", "1/hour")
    window.admit("")
    with pytest.raises(OverLimit, match="1 per 1 hour") as refusal:
        window.admit("")
    quota = refusal.value.quota
    assert (quota.amount, quota.window, quota.remaining) == (1, HOUR, 0)
    assert 0 < quota.reset <= HOUR


def test_off_admits_everything() -> None:
    assert [admission().admit("ada", is_write=True) for _ in range(1000)] == [()] * 1000


def test_a_read_counts_for_its_caller_only() -> None:
    both = admission("1/hour", "3/hour")
    assert [each.name for each in both.admit("ada", is_write=False)] == ["client"]
    assert [each.name for each in both.admit("ada", is_write=True)] == ["client", "writes"]
    with pytest.raises(OverLimit) as refusal:
        both.admit("bob", is_write=True)
    assert refusal.value.quota.name == "writes"


def test_what_a_caller_s_own_limit_refuses_takes_nothing_from_the_others() -> None:
    both = admission("2/hour", "1/hour")
    for _ in range(10):
        with contextlib.suppress(OverLimit):
            both.admit("greedy", is_write=True)
    both.admit("modest", is_write=True)


def test_as_many_writes_may_wait_as_were_allowed_and_reads_never_wait() -> None:
    assert admission(max_waiting=5, waiting=4).admit("ada", is_write=True) == ()
    full = admission(max_waiting=5, waiting=5)
    with pytest.raises(Overloaded, match="5 writes are waiting"):
        full.admit("ada", is_write=True)
    assert full.admit("ada", is_write=False) == ()


@pytest.fixture
def limited(start_server: StartServer) -> Server:
    """A server that admits three writes."""
    return start_server(write_limit="3/hour")


def post(server: Server) -> requests.Response:
    return requests.post(f"{server.url}/messages", json={"text": "hello"})


def test_over_http_the_headers_count_down_and_then_refuse(limited: Server) -> None:
    for remaining in (2, 1, 0):
        answer = post(limited)
        assert answer.status_code == 201
        assert answer.headers["RateLimit-Policy"] == f'"writes";q=3;w={HOUR}'
        assert answer.headers["RateLimit"].startswith(f'"writes";r={remaining};t=')
    refused = post(limited)
    assert_problem(refused, 429)
    wait = int(refused.headers["Retry-After"])
    assert 0 < wait <= HOUR
    assert refused.headers["RateLimit"] == f'"writes";r=0;t={wait}'
    assert refused.headers["RateLimit-Policy"] == f'"writes";q=3;w={HOUR}'


def test_reads_are_never_limited(limited: Server) -> None:
    while post(limited).status_code != 429:
        pass
    for path in ("/", "/messages", "/readyz", "/metrics"):
        answers = [requests.get(limited.url + path) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        assert "RateLimit" not in answers[0].headers
    # What was refused is not stored.
    assert len(requests.get(f"{limited.url}/messages").json()["messages"]) == 3


def test_without_a_limit_there_are_no_such_headers(server: Server) -> None:
    answer = post(server)
    assert answer.status_code == 201
    assert not any(name.startswith("RateLimit") for name in answer.headers)
