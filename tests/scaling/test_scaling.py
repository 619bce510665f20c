"""The service on three mongods and behind HAProxy, as docs/scaling.md sets it up: nobody notices that services stop."""

import csv
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from client import MessageClient
from harness import processes
from harness.members import replica_set
from harness.ports import free_port
from harness.servers import Server
from loadtests import service
from migrations import runner
from migrations.runner import Database
from tests.conftest import StartServer
from tests.scaling.haproxy import PROGRAM, haproxy
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no haproxy: apt-get install haproxy")

DATABASE = "scaled"
EXIT_SECONDS = 10
LIMIT = 1000  # requests an hour: each answer tells how many are left
THE_END = "the end"


class Services:
    """Two services of two workers on one database, which can be stopped and started again at their places."""

    def __init__(self, uri: str, folder: Path) -> None:
        self.places = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self.logs = [folder / f"service-{number}.log" for number in range(2)]
        self._uri = uri
        self._running: dict[int, Server] = {}

    def start(self, number: int) -> None:
        """Start one of them."""
        self._running[number] = service.start(
            self.logs[number],
            mongodb_uri=self._uri,
            database=DATABASE,
            port=urlsplit(f"//{self.places[number]}").port,
            workers=2,
            access_log="on",
            trusted_proxies="127.0.0.1",
        )

    def stop(self, number: int) -> None:
        """Send one of them SIGTERM; it drains, and ends in time."""
        assert processes.stop(self._running.pop(number).program, EXIT_SECONDS) == 0

    def close(self) -> None:
        """Stop those that run."""
        for each in self._running.values():
            service.stop(each)


class Follower:
    """Follows what is stored, in a thread, until it meets THE_END."""

    def __init__(self, url: str) -> None:
        self.found: list[tuple[int, str]] = []
        session = requests.Session()
        session.headers["X-Request-ID"] = "follower"  # so that it is found in the services' logs
        self._client = MessageClient(url, session=session)
        self._begins = self._client.newest()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when it has met THE_END."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _follow(self) -> None:
        with self._client:
            for message in self._client.follow(self._begins, interval=0.02):
                self.found.append((message.seq, message.text))
                if message.text == THE_END:
                    return


class Writers:
    """Two that send messages, one after the other, until they are stopped; `acknowledged` has the texts."""

    def __init__(self, url: str) -> None:
        self.acknowledged: list[str] = []
        self._url = url
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(2)
        self._writing = [self._pool.submit(self._write, name) for name in ("mia", "joe")]

    def stop(self) -> None:
        """Stop them; raises what has kept one from going on."""
        self._ended.set()
        for each in self._writing:
            each.result()

    def wait_for(self, more: int) -> None:
        """Return when so many more are acknowledged."""
        enough = len(self.acknowledged) + more
        eventually(lambda: len(self.acknowledged) >= enough, 60)

    def _write(self, name: str) -> None:
        with MessageClient(self._url, patience=20) as client:
            number = 0
            while not self._ended.is_set():
                number += 1
                self.acknowledged.append(client.send(f"{name} {number}", author=name).text)


@pytest.fixture
def set_up(tmp_path: Path) -> Iterator[tuple[str, Services, Database]]:
    """Its URL, its services and its database."""
    with ExitStack() as running:
        uri = running.enter_context(replica_set(tmp_path / "mongodb")).uri
        db = runner.connect(uri, DATABASE)
        running.callback(db.client.close)
        runner.up(db)
        services = Services(uri, tmp_path)
        running.callback(services.close)
        for number in range(2):
            services.start(number)
        yield running.enter_context(haproxy(tmp_path, services.places)), services, db


@pytest.mark.timeout(600)
def test_whichever_service_stops_nothing_fails_and_a_follower_sees_everything_once_in_order(
    set_up: tuple[str, Services, Database], tmp_path: Path
) -> None:
    url, services, db = set_up
    follower, writers = Follower(url), Writers(url)
    with locust(url, tmp_path) as load:
        for number in range(2):
            writers.wait_for(20)
            services.stop(number)
            writers.wait_for(20)  # by the other
            services.start(number)
        assert load.wait() == 0
    writers.stop()
    with MessageClient(url) as client:
        client.send(THE_END)
    follower.wait()

    with (tmp_path / "run" / "requests.csv").open() as lines:
        outcomes = Counter(each["outcome"] for each in csv.DictReader(lines))
    assert outcomes["ok"] > 0, outcomes
    assert outcomes["failed"] == 0, outcomes
    stored = [(each["seq"], each["text"]) for each in db.messages.find({"void": None}, sort=[("seq", 1)])]
    assert follower.found == stored
    texts = [text for _, text in stored]
    assert [texts.count(each) for each in writers.acknowledged] == [1] * len(writers.acknowledged)
    assert all('"request_id": "follower"' in each.read_text() for each in services.logs)


def locust(url: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Load it as the page says, with two worker processes of Locust."""
    words = ["run", "mixed", "--url", url, "--rate", "50", "--seconds", "15", "--folder", str(folder / "run")]
    command = [sys.executable, "-m", "loadtests", *words, "--", "--processes", "2"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def test_callers_are_told_apart_behind_haproxy(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(trusted_proxies="127.0.0.1", client_limit=f"{LIMIT}/hour")
    place = server.url.removeprefix("http://")
    with haproxy(tmp_path, [place, place]) as url, requests.Session() as other:
        adapter = HTTPAdapter()
        adapter.init_poolmanager(1, 1, source_address=("127.0.0.2", 0))
        other.mount("http://", adapter)
        left = [each.get(f"{url}/messages").headers["RateLimit"] for each in (requests, requests, other)]
    assert [each.split(";")[1] for each in left] == [f"r={LIMIT - number}" for number in (1, 2, 1)]
