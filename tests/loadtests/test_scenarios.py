"""What the callers of each scenario do, by turns."""

import pytest

from client import MessageClient
from harness.servers import Server
from loadtests.scenarios import (
    SCENARIOS,
    Behaviour,
    open_thread,
    prepare,
    read_recent,
    read_since,
    reply,
    request_name,
    send_message,
    turns,
)

TURNS = {
    "reads": [read_recent],
    "writes": [send_message],
    "mixed": [read_recent, send_message],
    "conversation": [read_recent] * 4 + [read_since] * 3 + [open_thread] * 2 + [send_message] + [reply] * 2,
}


@pytest.mark.parametrize(("scenario", "expected"), TURNS.items())
def test_turns(scenario: str, expected: list[Behaviour]) -> None:
    assert turns(scenario) == expected


def test_mixed_is_half_reads_and_half_writes() -> None:
    mixed = turns("mixed")
    assert mixed.count(read_recent) == mixed.count(send_message) == len(mixed) / 2


def test_every_scenario_is_in_the_table_above() -> None:
    assert set(SCENARIOS) == set(TURNS)


@pytest.mark.parametrize("behaviour", SCENARIOS["conversation"])
def test_each_behaviour_of_a_conversation_works(shared_server: Server, behaviour: Behaviour) -> None:
    with MessageClient(shared_server.url) as client:
        behaviour(client)


def test_a_reply_answers_what_was_read_last(server: Server) -> None:
    prepare(server.url, 3)
    with MessageClient(server.url) as client:
        read_recent(client)
        reply(client)
        newest, *_ = client.recent(limit=1)
        assert newest.reply_to == client.recent(limit=4)[-1].id


def test_ids_are_not_in_the_names_of_requests() -> None:
    assert request_name("GET", "/messages/0123456789abcdef01234567/replies") == "GET /messages/{id}/replies"
