"""What requests spend their time on, also while they have not ended: on a clock that the test turns."""

import asyncio
import threading
from contextvars import Context

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server import phases
from server.phases import DATABASE, IN_USE, POOL, QUEUE, Phase, Phases
from server.telemetry import InFlight, Metrics
from tests.server.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.perf_counter", made)
    return made


def test_a_phase_counts_before_it_has_ended_and_as_often_as_it_has_begun(clock: Clock) -> None:
    request = Phases()
    request.begin(DATABASE)
    clock.time += 1
    request.begin(DATABASE)
    clock.time += 2
    assert request.so_far() == {DATABASE: 5}
    request.end(DATABASE)
    request.end(DATABASE)
    clock.time += 10
    assert request.so_far() == {DATABASE: 5}


def test_who_waits_for_the_work_of_others_spends_what_it_spends_from_then_on(clock: Clock) -> None:
    early, late, query = Phases(), Phases(), Phases()
    early.begin(QUEUE)
    clock.time += 1
    early.end(QUEUE)
    early.wait_for(query, query.so_far())
    query.begin(POOL)
    clock.time += 2
    late.wait_for(query, query.so_far())
    query.end(POOL)
    query.begin(IN_USE)
    clock.time += 4
    assert early.so_far() == {QUEUE: 1, POOL: 2, IN_USE: 4}
    assert late.so_far() == {POOL: 0, IN_USE: 4}
    query.end(IN_USE)
    late.stop_waiting_for(query, query.so_far())
    clock.time += 8
    query.begin(POOL)  # for somebody else
    clock.time += 8
    assert late.so_far() == {POOL: 0, IN_USE: 4}


def test_a_block_is_a_phase_of_its_task_and_of_the_threads_that_know_it(clock: Clock) -> None:
    def in_a_thread() -> None:
        with Phase(POOL):
            clock.time += 1

    async def request() -> Phases:
        started = phases.start()
        await asyncio.to_thread(in_a_thread)
        with Phase(DATABASE):
            clock.time += 2
        return started

    assert asyncio.run(request()).so_far() == {POOL: 1, DATABASE: 2}
    thread = threading.Thread(target=in_a_thread)  # works for nobody
    thread.start()
    thread.join()


def seconds(metrics: Metrics) -> dict[str, float]:
    """Seconds at /messages by metric."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("route") == "/messages" and sample.name.endswith("seconds_total")
    }


def test_the_metrics_count_requests_that_are_not_answered_yet(clock: Clock) -> None:
    metrics = Metrics(InFlight())
    request = Context().run(metrics.begun, "/messages")
    request.begin(DATABASE)
    clock.time += 3
    hanging = {
        "http_request_seconds_total": 3,
        "http_request_database_seconds_total": 3,
        "http_request_queue_seconds_total": 0,  # said although nobody has waited there: not seen is something else
        "http_request_pool_seconds_total": 0,
        "http_request_connection_seconds_total": 0,
    }
    assert seconds(metrics) == hanging
    request.end(DATABASE)
    metrics.answered("GET", "/messages", 200, 3.0, request, request.so_far())
    clock.time += 5
    assert seconds(metrics) == hanging
    metrics.answered("GET", "/messages", 200, 0.5, None, {})
    assert seconds(metrics)["http_request_seconds_total"] == 3.5


def test_a_request_that_nobody_keeps_is_forgotten(clock: Clock) -> None:
    metrics = Metrics(InFlight())
    Context().run(metrics.begun, "/messages").begin(DATABASE)
    clock.time += 3
    assert seconds(metrics) == {}
