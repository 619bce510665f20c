"""What limits the service: rules for made-up evidence, and causes that are really there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import psutil
import pytest

from harness import mongod
from harness.servers import Server
from harness.threads import meanwhile
from loadtests import service
from loadtests.ingest import Run
from loadtests.run import Load
from loadtests.summary import FULL_MACHINE, MACHINE_FULL, summarize
from profiles import scores
from profiles.checklist import checklist
from profiles.diagnose import UNKNOWN, diagnose
from profiles.evidence import Evidence, look
from tests.processes import mongod_of

StartServer = Callable[..., Server]

NAN = float("nan")
CALM = Evidence(
    refused=0.0,
    generator="",
    server_cores=0.4,
    lag_ms=0.5,
    request_s=10.0,
    database_s=3.0,
    pool_s=0.01,
    pool_ms=0.01,
    inside_s=1.0,
    probe_ms=0.3,
    operations=1000.0,
    mongod_cores=0.3,
    machine=0.5,
)
BUSY = "Locust used 99% of a core: it was the limit"


@pytest.mark.parametrize(
    ("cause", "seen"),
    [
        ("rate limit", replace(CALM, refused=0.5)),
        ("rate limit", replace(CALM, refused=0.5, database_s=9.0, inside_s=8.0)),
        ("load generator", replace(CALM, generator=BUSY)),
        ("server CPU", replace(CALM, server_cores=0.97)),
        ("connection pool", replace(CALM, database_s=9.0, pool_s=8.0, pool_ms=8.0)),
        ("database", replace(CALM, database_s=9.0, inside_s=8.0)),
        ("database", replace(CALM, database_s=9.0, probe_ms=8.0)),
        ("database", replace(CALM, database_s=90.0, request_s=100.0, probe_ms=12.0)),
        (UNKNOWN, CALM),
        # Slow as the driver sees it, but nobody else does: it may be the network, or our own event loop.
        (UNKNOWN, replace(CALM, database_s=9.0)),
        (UNKNOWN, replace(CALM, database_s=9.0, inside_s=NAN, probe_ms=NAN)),
        (UNKNOWN, replace(CALM, server_cores=0.97, generator=BUSY)),
        (UNKNOWN, replace(CALM, server_cores=0.97, lost="the server ended")),
        (UNKNOWN, replace(CALM, database_s=9.0, inside_s=8.0, kept_up=True)),
        (UNKNOWN, replace(CALM, machine=0.99)),
        (UNKNOWN, replace(CALM, server_cores=NAN, request_s=NAN, database_s=NAN, pool_s=NAN, pool_ms=NAN, lag_ms=NAN)),
    ],
)
def test_a_cause_is_named_only_if_its_own_evidence_is_alone(cause: str, seen: Evidence) -> None:
    found = diagnose(seen)
    assert found.cause == cause
    assert found.why
    assert [each.cause for each in found.findings] == [
        "rate limit", "load generator", "server CPU", "connection pool", "database",
    ]  # fmt: skip


def test_what_could_not_be_seen_is_neither_found_nor_excluded() -> None:
    found = {each.cause: each.found for each in diagnose(replace(CALM, database_s=NAN, pool_ms=NAN)).findings}
    assert (found["database"], found["connection pool"]) == (None, None)


def test_the_checklist_gives_every_item_its_value() -> None:
    seen = checklist(replace(CALM, refused=0.123, probe_ms=NAN))["seen"]
    assert seen["refused requests"] == "12.3%"
    assert seen["time in `db`"] == "30% of the requests' time"
    assert seen["operations, by MongoDB"] == "1.00 ms"
    assert seen["a ping by a stranger"] == "nan ms"
    assert seen["the load generator"] == "had time to spare"
    assert checklist(replace(CALM, generator=BUSY)).loc["the load generator", "seen"] == BUSY


# Causes that are really there. The rest of the machine may be busy as well: then "unknown" is right, but no other name.


def test_a_rate_limit(start_server: StartServer, tmp_path: Path) -> None:
    load = Load("writes", seconds=1.0, warmup=0.0, rate=40, fast=True)
    seen = look(load, start_server(write_limit="5/minute").url, tmp_path / "run")
    assert seen.refused > 0.5
    assert diagnose(seen).cause in {"rate limit", UNKNOWN}
    assert diagnose(replace(seen, generator="", server_cores=0.1)).cause == "rate limit"


def test_one_connection_for_all(start_server: StartServer, mongodb_uri: str, tmp_path: Path) -> None:
    uri = f"{mongodb_uri}{'&' if '?' in mongodb_uri else '/?'}maxPoolSize=1"
    load = Load("writes", users=32, seconds=1.5, warmup=0.5, fast=True)
    seen = look(load, start_server(mongodb_uri=uri, driver="pymongo", writes="single").url, tmp_path / "run")
    assert seen.pool_ms > 1
    # On a busy machine it is Locust that does not get along.
    assert diagnose(seen).cause in {"connection pool", "load generator", UNKNOWN}


def test_a_slow_mongod(data_dir: Path, tmp_path: Path) -> None:
    """It stands still for five sixths of the time."""
    with mongod.running(data_dir) as uri:
        service.migrate(uri, "slow")
        slow = [psutil.Process(mongod_of(data_dir).pid)]

        def stop_again_and_again(ended: Event) -> None:
            while not ended.wait(0.02):
                with scores.stopped(slow):
                    ended.wait(0.1)

        with service.running(mongodb_uri=uri, database="slow") as server, meanwhile(stop_again_and_again):
            seen = look(Load("writes", seconds=2.0, warmup=0.5, fast=True), server.url, tmp_path / "run")
    assert seen.waited_for_database > 0.5
    assert seen.operation_ms > 10
    # On a busy machine it is Locust that does not get along.
    assert diagnose(seen).cause in {"database", "load generator", UNKNOWN}
    assert diagnose(replace(seen, generator="", server_cores=0.1, machine=0.5)).cause == "database"


def test_a_starved_generator(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with scores.half_stopped(folder):
        seen = look(Load("reads", seconds=1.5, warmup=0.0, rate=40), server.url, folder)
    void = summarize(Run(folder))["void"]
    if seen.machine < FULL_MACHINE:
        assert seen.generator == void
        assert void.startswith("Locust was late")
    else:  # others use the machine too, as they do while many tests run: then it is not Locust's fault
        assert seen.generator == ""
        assert void.startswith(MACHINE_FULL)
