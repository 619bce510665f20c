"""The table of rules, on made-up evidence: each verdict is given on its own evidence, and none on another's."""

from dataclasses import replace
from math import isnan, nan
from typing import Any

import numpy as np
import pytest

from profiles.diagnosis import rules
from profiles.diagnosis.budget import PARTS, budget
from profiles.diagnosis.evidence import SHARES, SIGNALS, Evidence
from profiles.diagnosis.mongodb_watch import Counters, MongodbWatch
from profiles.diagnosis.verdict import COMBINED, judge

# A request of 10 ms on a service that has time to spare.
CALM_PARTS = {
    "waiting to be sent": 0.1,
    "unread by the server": 0.3,
    "application": 2.0,
    "queue of writes": 0.0,
    "waiting for a connection": 0.1,
    "driver's threads": 1.0,
    "network or commit": 2.0,
    "unread by MongoDB": 0.1,
    "in MongoDB": 3.0,
    "unread from MongoDB": 0.1,
    "answer unsent": 0.1,
    "answer unread": 0.2,
}
CALM = {
    "answered_share": 1.0,
    "answered_per_s": 100.0,
    "refused_share": 0.0,
    "failed_share": 0.0,
    "mean_ms": 9.0,
    "generator_core": 0.2,
    "generator_late": 0.01,
    "machine_busy": 0.4,
    "others_busy": 0.02,
    "server_cpu": 0.3,
    "server_delayed": 0.02,
    "server_threads": 1.0,
    "lag_ms": 0.5,
    "unread_ms": 0.3,
    "mongod_cpu": 0.2,
    "mongod_delayed": 0.02,
    "operation_ms": 1.0,
    "examined": 1.0,
    "others_inside": 0.0,
    "syncing": 0.05,
    "sync_ms": 1.0,
    "ping_ms": 0.5,
    "distance_ms": 0.05,
    "pool_ms": 0.05,
    "use_ms": 2.0,
    "connections": 0.5,
}


def seen(parts: dict[str, float] | None = None, generator: str = "", lost: str = "", **values: float) -> Evidence:
    """CALM, with some parts of the budget and some signals changed."""
    measured = {**CALM_PARTS, **(parts or {})}
    spent = budget(sum(each for each in measured.values() if not isnan(each)), measured)
    shares = {name: spent.share(*each) for name, each in SHARES.items()}
    return Evidence({**CALM, **shares, "mean_ms": spent.total_ms, **values}, spent, lost=lost, generator=generator)


IN_MONGODB = {"in MongoDB": 30.0}
COMMITS_TOGETHER = {
    "unread by the server": 0.91, "application": 1.45, "queue of writes": 1.67, "driver's threads": 1.08,
    "network or commit": 0.66, "unread by MongoDB": 0.24, "in MongoDB": 0.96, "unread from MongoDB": 0.51,
    "answer unsent": 2.31, "answer unread": 2.0,
}  # fmt: skip
FULL_LOCUST = "Locust used 99% of a core: it was the limit"
CASES: list[tuple[str, Evidence]] = [
    (rules.HEALTHY, seen()),
    (rules.RATE_LIMIT, seen(refused_share=0.6, answered_share=0.4)),
    (rules.LOAD_GENERATOR, seen({"answer unread": 8.0}, generator=FULL_LOCUST, generator_core=0.99)),
    (rules.LOAD_GENERATOR, seen({"waiting to be sent": 50.0}, generator=FULL_LOCUST, generator_core=0.99)),
    # All that was due was answered, and what callers waited for was Locust, which is short of a processor.
    (rules.LOAD_GENERATOR, seen({"waiting to be sent": 9.0, "answer unread": 4.0}, generator_late=0.11)),
    (rules.HEALTHY, seen({"waiting to be sent": 9.0, "answer unread": 4.0}, generator_late=0.02)),
    # It was late now and then, on the cores of a busy server, and hardly anything waited for it.
    (rules.SERVER_CPU, seen({"driver's threads": 80.0}, generator="Locust was late", server_cpu=0.95)),
    (rules.MACHINE_FULL, seen(machine_busy=1.0, others_busy=0.6, generator_late=0.3, server_delayed=0.5, lag_ms=20.0)),
    (rules.SERVER_CPU, seen({"unread by the server": 20.0}, server_cpu=0.98, machine_busy=0.7, unread_ms=20.0)),
    (rules.SERVER_CPU, seen({"answer unsent": 20.0}, server_cpu=0.75, server_delayed=0.16)),
    # At its capacity, with 256 callers of whom half wait for one commit together, as measured: see notebook 06.
    (rules.SERVER_CPU, seen(COMMITS_TOGETHER, server_cpu=0.713, server_delayed=0.12, lag_ms=1.64, mongod_cpu=0.14)),
    # A blocking call keeps up with a low rate, and still is a cause.
    (rules.LOOP_BLOCKED, seen({"unread by the server": 40.0}, lag_ms=156.0, unread_ms=40.0, server_cpu=0.1)),
    (rules.SLOTS, seen({"application": 60.0})),
    (rules.UNKNOWN, seen({"unread by the server": 40.0}, unread_ms=40.0, server_threads=8.0, answered_share=nan)),
    (rules.DATABASE_CPU, seen(IN_MONGODB, mongod_cpu=0.97, operation_ms=4.0)),
    (rules.DATABASE_CPU, seen(IN_MONGODB, mongod_cpu=0.3, mongod_delayed=0.7, operation_ms=30.0)),
    # Kept from the processor, on a machine that has one: a shared core, a low priority, SIGSTOP in turns.
    (rules.DATABASE_CPU, seen({"unread by MongoDB": 15.0}, mongod_cpu=0.1, mongod_delayed=0.6)),
    (rules.SERVER_CPU, seen({"unread by the server": 20.0}, server_cpu=0.4, server_delayed=0.5, unread_ms=20.0)),
    # What MongoDB does for others fills the machine.
    (
        rules.MACHINE_FULL,
        seen(
            {"unread by the server": 20.0},
            machine_busy=0.98,
            others_inside=2.7,
            server_cpu=0.78,
            server_delayed=0.44,
            mongod_cpu=0.46,
            mongod_delayed=0.79,
        ),
    ),
    (rules.DISK, seen(IN_MONGODB, syncing=0.95, sync_ms=22.0, operation_ms=30.0)),
    (rules.QUERIES, seen(IN_MONGODB, operation_ms=30.0)),
    (rules.QUERIES, seen(IN_MONGODB, operation_ms=30.0, examined=40_000.0, mongod_cpu=0.99)),
    (rules.POOL, seen({"waiting for a connection": 60.0}, pool_ms=60.0)),
    # With Motor the queue is in its threads.
    (rules.POOL, seen({"driver's threads": 30.0, "waiting for a connection": 30.0}, pool_ms=30.0)),
    # MongoDB answers quickly, by its own clock, and a ping takes long: not the database.
    (rules.NETWORK, seen({"network or commit": 40.0}, ping_ms=30.0, distance_ms=29.5, use_ms=31.0)),
    # On a full machine a ping waits for a core, not for the network.
    (rules.UNKNOWN, seen({"network or commit": 40.0}, ping_ms=9.0, use_ms=12.0, machine_busy=0.99, answered_share=nan)),
    # MongoDB holds operations before it begins to count: its clock says little, and a ping is quick.
    (rules.QUERIES, seen({"network or commit": 40.0}, use_ms=22.0)),
    # A commit waits for a disk that is slow, and keeps up.
    (rules.HEALTHY, seen({"network or commit": 6.0}, use_ms=9.0, sync_ms=6.0)),
    (rules.UNKNOWN, seen(answered_share=nan)),
    (rules.UNKNOWN, seen(answered_share=0.66)),
    (rules.UNKNOWN, seen(failed_share=0.2)),
    (rules.UNKNOWN, seen(lost="the server (process 7) ended 1.2 s into the measured time", server_cpu=0.98)),
    (rules.UNKNOWN, seen(server_cpu=0.98, refused_share=0.6)),
]


@pytest.mark.parametrize(("verdict", "evidence"), CASES, ids=[f"{n} {case[0]}" for n, case in enumerate(CASES)])
def test_the_verdict(verdict: str, evidence: Evidence) -> None:
    found = judge(evidence)
    assert found.verdict == verdict
    assert found.why


def test_a_ping_is_as_long_as_the_way_not_as_the_machine_is_busy() -> None:
    """Half of the pings waited for a core; those that did not tell how far away MongoDB is."""
    pings = [0.4, 0.5, 0.6, 7.0, 9.0, 0.4, 12.0, 8.0]
    watch = MongodbWatch([Counters(float(n), *[0.0] * 7, ping, 0.3) for n, ping in enumerate(pings)])
    assert watch.ping_ms(0.0, 8.0) < 1.0
    assert watch.ping_ms(0.0, 8.0, "direct_ms") == 0.3


def test_numbers_of_numpy_are_judged_as_any_other() -> None:
    evidence = seen(**{name: np.float64(value) for name, value in CALM.items() if name != "mean_ms"})
    assert judge(evidence).verdict == rules.HEALTHY


def test_others_slow_queries_are_not_the_services() -> None:
    """By MongoDB's counters for all databases it would be slow; for ours it is not."""
    assert judge(seen(others_inside=5.0, mongod_cpu=0.5)).verdict == rules.HEALTHY


def test_others_who_keep_the_database_busy_are_named() -> None:
    alone, beside = (
        judge(seen(IN_MONGODB, mongod_cpu=0.97, operation_ms=4.0, others_inside=each)) for each in (0.0, 0.9)
    )
    assert alone.verdict == beside.verdict == rules.DATABASE_CPU
    assert "other databases" in " ".join(beside.next)
    assert "other databases" not in " ".join(alone.next)


@pytest.mark.parametrize(
    ("verdict", "evidence"), [case for case in CASES if case[0] not in (rules.UNKNOWN, rules.HEALTHY)]
)
def test_a_verdict_has_three_signals_or_more_each_with_its_unit(verdict: str, evidence: Evidence) -> None:
    signals = judge(evidence).signals()
    assert sum(each["speaks"] == "for" for each in signals) >= 3
    assert all(each["unit"] and each["says"] for each in signals)


def test_what_was_not_seen_is_said_to_be_so() -> None:
    nothing: dict[str, Any] = dict.fromkeys(CALM, nan)
    found = judge(Evidence(nothing, budget(10.0, {})))
    assert found.verdict == rules.UNKNOWN
    for verdict in (rules.SERVER_CPU, rules.DATABASE_CPU, rules.POOL, rules.NETWORK):
        assert verdict in found.why.partition("not seen: ")[2]


def test_less_is_sure_where_less_of_what_is_expected_was_seen() -> None:
    sure = judge(seen({"unread by the server": 20.0}, server_cpu=0.98, unread_ms=20.0))
    unsure = judge(seen(server_cpu=0.98, server_delayed=0.6))
    assert (sure.verdict, unsure.verdict) == (rules.SERVER_CPU, rules.SERVER_CPU)
    assert sure.confidence == 1.0 > unsure.confidence


def test_every_signal_of_the_table_is_described() -> None:
    asked = {test.signal for rule in rules.RULES for test in (*rule.needs, *rule.expects, *rule.unless)}
    assert asked <= set(SIGNALS) | set(SHARES) | set(COMBINED)


def test_every_verdict_has_its_row() -> None:
    assert {rule.verdict for rule in rules.RULES} == set(rules.VERDICTS) - {rules.HEALTHY, rules.UNKNOWN}
    assert all(rule.explains <= set(rules.VERDICTS) and rule.next for rule in rules.RULES)


def test_the_budget_closes_or_says_what_is_left() -> None:
    spent = budget(20.0, {"application": 12.0, "in MongoDB": 6.0, "network or commit": nan})
    assert spent.residual_ms == pytest.approx(2.0)
    assert list(spent.parts) == [name for name in PARTS if name in ("application", "in MongoDB")]
    assert spent.share("application") == pytest.approx(0.6)
    assert isnan(spent.share("network or commit"))
    assert any(line.startswith("left over") for line in spent.lines())
    assert replace(spent, total_ms=0.0).lines()
