"""SIGTERM to the service, at precise moments and at any: no answer is cut, and nobody waits in vain."""

import asyncio
import itertools
import random
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from harness import mongod
from harness.servers import Server
from loadtests import service
from migrations import runner
from migrations.runner import Database
from server.app import _drain
from server.telemetry import InFlight
from tests.conftest import StartServer
from tests.processes import is_running, kill, mongod_of, stopped
from tests.server.http1.serving import GET, LOOPS, Echo, read_answer, serving
from tests.server.stopping import connect, post, posting
from tests.server.test_workers import WORKERS, workers
from tests.waiting import eventually

EXIT_SECONDS = 10
WAYS = [{"fast_path": "on", "event_loop": "uvloop"}, {"fast_path": "off", "event_loop": "asyncio"}]
# Each moment may be met with each of these; what is sent at once takes turns, as each run takes seconds.
LOADED = [
    (workers, loop, fast, 1 if (loop == "uvloop") == (fast == "on") else 3)
    for workers, loop, fast in itertools.product([1, 2], ["uvloop", "asyncio"], ["on", "off"])
]


@pytest.fixture(scope="module")
def held_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data dir of a MongoDB that these tests may hold."""
    return tmp_path_factory.mktemp("held")


@pytest.fixture(scope="module")
def held_uri(held_dir: Path) -> Iterator[str]:
    with mongod.running(held_dir) as uri:
        yield uri


@pytest.fixture(scope="module")
def held_db(held_uri: str) -> Iterator[Database]:
    db = runner.connect(held_uri, "held")
    runner.up(db)
    yield db
    db.client.close()


@pytest.fixture
def on_held(held_uri: str, held_db: Database, tmp_path: Path) -> Iterator[StartServer]:
    """Start a server on the MongoDB that may be held."""
    with ExitStack() as servers:
        place = {"mongodb_uri": held_uri, "database": held_db.name}
        yield lambda **settings: servers.enter_context(service.running(tmp_path / "log", **place, **settings))


def in_flight(server: Server) -> int:
    """How many requests are being answered, the one that asks for that included."""
    found = re.search(r"^http_requests_in_flight (\S+)", requests.get(f"{server.url}/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def refuses(server: Server) -> bool:
    """Whether a connection is refused, by a server that still runs."""
    assert server.process.poll() is None
    try:
        connect(server.url).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["event_loop"])
def test_a_message_that_comes_on_a_kept_connection_after_sigterm_is_answered(
    on_held: StartServer, held_dir: Path, held_db: Database, way: dict[str, str]
) -> None:
    server = on_held(**way)
    with connect(server.url) as kept, kept.makefile("rb") as kept_answers:
        kept.sendall(post("before"))
        assert "connection" not in read_answer(kept_answers).headers
        with connect(server.url) as waiting, waiting.makefile("rb") as answers:
            with stopped(mongod_of(held_dir)):
                waiting.sendall(post("waits"))
                eventually(lambda: in_flight(server) == 2)
                server.process.send_signal(signal.SIGTERM)
                eventually(lambda: refuses(server))
                kept.sendall(post(f"after {way}"))
            for answer in (read_answer(answers), read_answer(kept_answers)):
                assert (answer.status, answer.headers["connection"]) == (201, "close")
            assert read_answer(kept_answers) is None
    assert server.process.wait(EXIT_SECONDS) == 0
    assert held_db.messages.count_documents({"text": f"after {way}"}) == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_a_request_that_begins_when_nothing_else_is_in_flight_any_more_is_answered(loop: str) -> None:
    """In the moment between the last answer and the end of the connections."""
    echo, in_flight = Echo(), InFlight()
    with serving(loop, echo.respond) as serves, serves.connect() as kept, kept.makefile("rb") as answers:
        kept.sendall(GET)
        assert read_answer(answers).status == 200
        serves.call(in_flight.enter)
        draining = asyncio.run_coroutine_threadsafe(_drain(serves.server, in_flight), serves.loop)
        eventually(lambda: serves.server.is_stopping)
        echo.hold()

        def the_last_one_is_answered() -> None:
            kept.sendall(GET)
            in_flight.leave()

        serves.call(the_last_one_is_answered)
        eventually(lambda: len(echo.requests) == 2)
        serves.call(lambda: None)
        serves.call(echo.release)
        answer = read_answer(answers)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        draining.result(20)


def test_with_workers_nobody_waits_in_the_backlog_of_one_who_stops(on_held: StartServer, held_dir: Path) -> None:
    server = on_held(workers=2)
    with connect(server.url) as waiting, waiting.makefile("rb") as answers:
        with stopped(mongod_of(held_dir)):
            waiting.sendall(post("waits"))
            eventually(lambda: any(in_flight(server) == 2 for _ in range(10)))  # whichever worker answers
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: refuses(server))
        answer = read_answer(answers)
        assert (answer.status, answer.headers["connection"]) == (201, "close")
    assert server.process.wait(EXIT_SECONDS) == 0


def test_it_stops_while_a_worker_is_replaced(on_held: StartServer) -> None:
    server = on_held(workers=3)
    before = workers(server)
    kill(next(iter(before.values())))
    server.process.send_signal(signal.SIGTERM)
    family = psutil.Process(server.pid).children(recursive=True)
    assert server.process.wait(EXIT_SECONDS) == 0
    eventually(lambda: not any(is_running(each) for each in family))
    assert "Traceback" not in server.log.read_text()


def test_who_waits_for_a_database_that_hangs_is_told_so_before_it_ends(on_held: StartServer, held_dir: Path) -> None:
    server = on_held()
    with stopped(mongod_of(held_dir)), connect(server.url) as waiting, waiting.makefile("rb") as answers:
        waiting.sendall(post("hangs"))
        eventually(lambda: in_flight(server) == 2)
        server.process.send_signal(signal.SIGTERM)
        answer = read_answer(answers)
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert server.process.wait(EXIT_SECONDS) == 0


@pytest.mark.parametrize(("workers", "event_loop", "fast_path", "pipelined"), LOADED)
def test_under_load_every_stored_message_is_answered_whenever_it_stops(
    start_server: StartServer, migrated: Database, workers: int, event_loop: str, fast_path: str, pipelined: int
) -> None:
    server = start_server(workers=workers, event_loop=event_loop, fast_path=fast_path)
    with posting(server.url, callers=6, pipelined=pipelined) as noted:
        answered = random.randrange(5, 300)
        eventually(lambda: len(noted.stored) >= answered)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(EXIT_SECONDS) == 0
    assert {each["text"] for each in migrated.messages.find({"void": None})} == noted.stored
    assert noted.cut == noted.waited == []
    assert pipelined > 1 or noted.unanswered == []
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_whoever_connects_while_it_stops_is_answered_or_refused(start_server: StartServer, workers: int) -> None:
    server = start_server(workers=workers)
    with posting(server.url, callers=6, pipelined=1, reconnecting=True) as noted:
        eventually(lambda: len(noted.stored) >= 100)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(EXIT_SECONDS) == 0
    assert noted.unanswered == noted.cut == noted.waited == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be told to begin no more connections")
def test_nobody_gets_into_the_backlog_of_workers_that_have_not_closed_it_yet(start_server: StartServer) -> None:
    server = start_server(workers=WORKERS)
    where = urlsplit(server.url)
    with ExitStack() as held:
        for each in workers(server).values():
            held.enter_context(stopped(each))
        server.process.send_signal(signal.SIGTERM)
        parent = psutil.Process(server.pid)
        eventually(lambda: not any(each.status == "LISTEN" for each in parent.net_connections()))
        with pytest.raises(TimeoutError):
            socket.create_connection((where.hostname, where.port), timeout=0.3)
    assert server.process.wait(EXIT_SECONDS) == 0
