"""What Locust runs: users who take the turns of a scenario, and a log of every request.

Started by `loadtests.run`, in a process of its own: gevent changes the whole interpreter. As Locust's
master and workers, in processes or on machines of their own, it does the same: the workers send their
part of the log to the master with their reports.
"""

import contextlib
import csv
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlencode, urlsplit

import gevent
import locust
import locust.stats
import requests
from locust import FastHttpUser, HttpUser, events, task
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.runners import MasterRunner, WorkerRunner

from harness import clock
from loadtests.scenarios import ERRORS, SCENARIOS, connect, request_name, turns

TOO_MANY = 429
BEAT_SECONDS = 0.02
HEARSAY_SECONDS = 1.0
UNSENT = "unsent"

Row = list[str]


@events.init_command_line_parser.add_listener
def _add_arguments(parser: Any) -> None:
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="mixed", help="What the users do.")
    parser.add_argument("--rate", type=float, default=0.0, help="Requests per second of all users; 0: no pause.")
    parser.add_argument("--length", type=float, default=0.0, help="Seconds the test lasts; 0: until Ctrl-C.")
    parser.add_argument("--log-folder", default="", help="Folder for requests.csv and generator.csv.")


class Log:
    """Rows about requests and about Locust itself: written to files, or sent to the master who writes them."""

    HEADINGS: Mapping[str, Row] = {
        "requests": ["due", "sent", "name", "milliseconds", "status"],
        "generator": ["time", "worker", "late_ms"],
    }

    def __init__(self, folder: str) -> None:
        self._files: dict[str, TextIO] = {}
        self._unreported: dict[str, list[Row]] = {name: [] for name in self.HEADINGS}
        for name, heading in self.HEADINGS.items() if folder else ():
            self._files[name] = (Path(folder) / f"{name}.csv").open("w", newline="")
            self.write(name, [heading])

    def write(self, name: str, rows: list[Row]) -> None:
        """Write `rows` to the file `name`."""
        if name in self._files:
            csv.writer(self._files[name]).writerows(rows)

    def flush(self) -> None:
        """Let others read what was written."""
        for file in self._files.values():
            file.flush()

    def keep(self, name: str, row: Row) -> None:
        """Keep a row of a worker until its next report."""
        self._unreported[name].append(row)

    def take(self) -> dict[str, list[Row]]:
        """What was kept since the last report."""
        taken, self._unreported = self._unreported, {name: [] for name in self.HEADINGS}
        return taken

    def close(self) -> None:
        """Close the files: all is in them then."""
        for file in self._files.values():
            file.close()
        self._files.clear()


@dataclass
class Schedule:
    """When requests are due, at a constant rate, for all users of this process together.

    Whoever is free takes the next due time. If the service is slow, nobody is free, and requests are
    sent late; none is left out, and how late is part of how long its caller waited.
    """

    rate: float
    first: int  # this process takes every `step`-th request of all, from the `first` on
    step: int

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.taken = 0

    def due(self, number: int) -> float:
        """When the request `number` of this process is due, on the clock `time.perf_counter`."""
        return self.began + (self.first + number * self.step) / self.rate

    def take(self) -> float:
        """The next due time; now, without a rate."""
        if not self.rate:
            return time.perf_counter()
        self.taken += 1
        return self.due(self.taken - 1)

    def never_taken(self) -> list[float]:
        """How many seconds ago those requests were due that nobody was free to send."""
        if not self.rate:
            return []
        now = time.perf_counter()
        due = itertools.takewhile(lambda due: due <= now, map(self.due, itertools.count(self.taken)))
        return [now - each for each in due]


class State:
    """What the users of this process share while a test runs. Locust makes its users itself, so it is kept here."""

    schedule: Schedule


@dataclass
class Recorder:
    """Logs what happens in this process: requests, those nobody was free to send, and how late Locust itself is."""

    environment: Any
    runner: Any
    log: Log

    @property
    def is_worker(self) -> bool:
        """Whether another process, the master, writes the files."""
        return isinstance(self.runner, WorkerRunner)

    @property
    def is_master(self) -> bool:
        """Whether only others send requests."""
        return isinstance(self.runner, MasterRunner)

    def add(self, name: str, row: Row) -> None:
        """Log a row."""
        if self.is_worker:
            self.log.keep(name, row)
        else:
            self.log.write(name, [row])

    def begin(self, **_: Any) -> None:
        """The test starts."""
        options = self.environment.parsed_options
        if options.length and not self.is_worker:
            # Locust's own --run-time knows whole seconds only. Workers begin when they have heard from their master.
            gevent.spawn_later(options.length + (HEARSAY_SECONDS if self.is_master else 0.0), self.runner.quit)
        if not self.is_master:
            step = max(1, options.expect_workers) if self.is_worker else 1
            State.schedule = Schedule(options.rate, max(0, self.runner.worker_index), step)
            gevent.spawn(self.beat)

    def beat(self) -> None:
        """Note how late a timer of Locust's fires: as late does it notice an answer, or send a request."""
        while True:
            due = time.perf_counter() + BEAT_SECONDS
            gevent.sleep(BEAT_SECONDS)
            late = max(0.0, time.perf_counter() - due)
            self.add("generator", [f"{clock.now():.6f}", str(max(0, self.runner.worker_index)), f"{late * 1000:.3f}"])
            self.log.flush()

    def one_request(self, name: str, response_time: float, context: Any, response: Any = None, **_: Any) -> None:
        """A request was answered, or will not be."""
        status = getattr(response, "status_code", 0) or 0
        sent = context.get("sent", clock.now())
        due = sent - context.get("late", 0.0)
        self.add("requests", [f"{due:.6f}", f"{sent:.6f}", name, f"{response_time:.3f}", str(status)])

    def never_sent(self, **_: Any) -> None:
        """The test stops."""
        now = clock.now()
        for late in [] if self.is_master else State.schedule.never_taken():
            self.add("requests", [f"{now - late:.6f}", f"{now:.6f}", UNSENT, "0.000", "0"])

    def report(self, data: dict[str, Any], **_: Any) -> None:
        """A worker reports to its master."""
        data["log"] = self.log.take()

    def reported(self, data: dict[str, Any], **_: Any) -> None:
        """The master is told by a worker."""
        for name, rows in data.get("log", {}).items():
            self.log.write(name, rows)


@events.init.add_listener
def _record(environment: Any, runner: Any, **_: Any) -> None:
    # gevent's timers count from when its loop last looked at the clock, which was before everything was imported:
    # without this Locust's run time is as much too short as starting took.
    gevent.get_hub().loop.update_now()
    # Locust rounds to two digits by default: 143 ms would be counted as 140.
    locust.stats.bucket_response_time = lambda milliseconds: round(milliseconds, 1)
    folder = "" if isinstance(runner, WorkerRunner) else environment.parsed_options.log_folder
    recorder = Recorder(environment, runner, Log(folder))
    environment.events.test_start.add_listener(recorder.begin)
    environment.events.request.add_listener(recorder.one_request)
    environment.events.test_stopping.add_listener(recorder.never_sent)
    environment.events.report_to_master.add_listener(recorder.report)
    environment.events.worker_report.add_listener(recorder.reported)
    environment.events.quit.add_listener(lambda **_: recorder.log.close())


class User(locust.User):
    """Somebody who uses the service through its client library, one request at a time, in turns of the scenario."""

    abstract = True
    _arrivals = itertools.count()

    def begin(self, session: Any) -> None:
        """Get ready to send with `session`."""
        self.service = connect(self.host, session)
        # Users begin at different turns, or all would read, then all would write.
        self.turns = itertools.cycle(turns(self.environment.parsed_options.scenario))
        for _ in range(next(self._arrivals)):
            next(self.turns)
        gevent.sleep(self.wait_time())

    def wait_time(self) -> float:
        """Seconds until the next request is due that nobody has taken."""
        self.due = State.schedule.take()
        return max(0.0, self.due - time.perf_counter())

    def context_of_request(self) -> dict[str, float]:
        """When a request is sent, and how long after its due time. What follows in the same turn is not late."""
        now = time.perf_counter()
        late, self.due = max(0.0, now - self.due) if State.schedule.rate else 0.0, now
        return {"sent": clock.OFFSET + now, "late": late}  # of one reading: in between this process may have to wait

    @task
    def take_turn(self) -> None:
        with contextlib.suppress(ERRORS):  # Locust has counted it, with what the service answered
            next(self.turns)(self.service)


def _send(send: Any, user: User, method: str, url: str, arguments: dict[str, Any]) -> Any:
    """Send, under the name of the request, and take a refused one for what it is.

    A 429 is the rate limit at work: an outcome with a row of its own, not a failure of the run.
    """
    name = request_name(method, urlsplit(url).path)
    with send(method, url, name=name, catch_response=True, context=user.context_of_request(), **arguments) as response:
        if response.status_code == TOO_MANY:
            response.request_meta["name"] = f"{name} refused"
            response.success()
    return response


class Session(HttpSession):
    """What the client library sends with: a session of requests that Locust measures."""

    def request(self, method: str, url: str, **arguments: Any) -> Any:
        return _send(super().request, self.user, method, url, arguments)


class Caller(User, HttpUser):
    """A user with the client library as it is."""

    def on_start(self) -> None:
        session = Session(self.host, self.environment.events.request, self, pool_manager=self.pool_manager)
        session.trust_env = False
        self.begin(session)


class FastSession:
    """The same on Locust's faster HTTP client: as much of a session of requests as a client library needs."""

    def __init__(self, session: FastHttpSession, user: User) -> None:
        self._session = session
        self._user = user

    def request(self, method: str, url: str, params: Any = None, timeout: Any = None, **arguments: Any) -> Any:
        if params:
            url = f"{url}?{urlencode(params)}"
        return FastAnswer(_send(self._session.request, self._user, method, url, arguments))

    def close(self) -> None:
        """Nothing: Locust keeps the connections."""


class FastAnswer:
    """An answer with the names that requests gives its parts. Raises what requests raises."""

    def __init__(self, response: Any) -> None:
        if not response.status_code:
            raise requests.ConnectionError(str(response.error))
        self.status_code = response.status_code
        self.ok = response.ok
        self.reason = str(response.status_code)
        self.url = response.url
        self.headers = response.headers
        self._content = response.content

    def json(self) -> Any:
        try:
            return json.loads(self._content)
        except ValueError as error:
            raise requests.JSONDecodeError(str(error), "", 0) from error


class FastCaller(User, FastHttpUser):
    """A user who costs Locust less: for finding out how much the service can take."""

    connection_timeout = 3.05
    network_timeout = 15.0

    def on_start(self) -> None:
        self.begin(FastSession(self.client, self))
