"""What the users of the lab's own scenarios do, by turns."""

import time
from collections.abc import Callable

import pytest

from client import MessageClient
from harness.servers import Server
from loadtests.lab_scenarios import (
    PREPARED,
    SCENARIOS,
    open_thread,
    prepare,
    read_recent,
    read_since,
    reply,
    send_message,
    send_patiently,
)
from loadtests.request_log import OK
from loadtests.scenarios import Behaviour, Request, find
from loadtests.sessions import Exchange, RequestsTransport, Session

TURNS = {
    "reads": [read_recent],
    "writes": [send_message],
    "patient": [send_patiently],
    "mixed": [read_recent, send_message],
    "conversation": [read_recent] * 4 + [read_since] * 3 + [open_thread] * 2 + [send_message] + [reply] * 2,
}


class Meter:
    """Counts the requests of a session, without a schedule."""

    def __init__(self) -> None:
        self.settled: list[Exchange] = []

    def begin(self, method: str, name: str) -> Exchange:
        return Exchange(method, name, time.perf_counter(), time.perf_counter())

    def answered(self, exchange: Exchange) -> None:
        exchange.milliseconds = (time.perf_counter() - exchange.sent) * 1000

    def settle(self, exchange: Exchange) -> None:
        self.settled.append(exchange)


@pytest.fixture
def session_of() -> Callable[[str], tuple[Session, Meter]]:
    def session(url: str) -> tuple[Session, Meter]:
        meter = Meter()
        return Session(url, {}, RequestsTransport(), meter), meter

    return session


@pytest.mark.parametrize(("scenario", "expected"), TURNS.items())
def test_turns(scenario: str, expected: list[Behaviour]) -> None:
    assert find(scenario).turns() == expected


def test_mixed_is_half_reads_and_half_writes() -> None:
    for fast in (False, True):
        mixed = find("mixed", fast).turns()
        assert len(mixed) == len(set(mixed)) == 2


def test_every_scenario_is_in_the_table_above() -> None:
    assert set(SCENARIOS) == set(TURNS)


def test_fast_users_send_prepared_requests_where_a_scenario_has_them() -> None:
    for name in PREPARED:
        assert all(isinstance(turn, Request) for turn in find(name, fast=True).turns())
    assert find("conversation", fast=True).turns() == TURNS["conversation"]


@pytest.mark.parametrize("behaviour", [*SCENARIOS["conversation"], *find("mixed", fast=True).turns()])
def test_each_behaviour_is_one_request_that_succeeds(
    shared_server: Server, session_of: Callable[[str], tuple[Session, Meter]], behaviour: Behaviour
) -> None:
    session, meter = session_of(shared_server.url)
    behaviour(session)
    session.settle()
    assert [exchange.outcome for exchange in meter.settled] == [OK]
    session.close()


def test_a_prepared_request_has_the_name_of_the_one_that_the_client_library_sends(
    shared_server: Server, session_of: Callable[[str], tuple[Session, Meter]]
) -> None:
    session, meter = session_of(shared_server.url)
    for turn in [*find("mixed").turns(), *find("mixed", fast=True).turns()]:
        turn(session)
    session.settle()
    names = [exchange.name for exchange in meter.settled]
    assert names[:2] == names[2:] == ["GET /messages", "POST /messages"]
    session.close()


def test_a_reply_answers_what_was_read_last(server: Server, session_of: Callable[[str], tuple[Session, Meter]]) -> None:
    prepare(server.url, 3)
    session, _ = session_of(server.url)
    read_recent(session)
    reply(session)
    session.close()
    with MessageClient(server.url) as client:
        newest, *_ = client.recent(limit=1)
        assert newest.reply_to == client.recent(limit=4)[-1].id
