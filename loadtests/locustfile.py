"""What Locust runs: users that take the turns of a scenario on schedule, and a log of every request.

Started by `loadtests.run` in processes of its own, because gevent changes the whole interpreter. Of several processes,
also on several machines, the workers send their part of the log to the master.
"""

import itertools
import json
import os
import time
from typing import Any, NamedTuple

import gevent
import gevent.event
import locust
import locust.runners
import locust.stats
import requests
from locust import events, task
from locust.runners import MasterRunner, WorkerRunner

from harness import clock
from loadtests.raw_http import WATCH_SECONDS, RawConnection, RawTransport
from loadtests.request_log import OK, SPREAD_SECONDS, UNANSWERED, UNSENT, RequestLog
from loadtests.scenarios import Request, find
from loadtests.schedule import Schedule
from loadtests.sessions import HEADERS_VARIABLE, WRONG_ANSWER, Exchange, RequestsTransport, Session
from loadtests.tally import Tally

BEAT_SECONDS = 0.02
# How much later than their time is over a master waits for workers that have not ended: they begin later than it does.
PATIENCE_SECONDS = 10.0
# How long answers may take that are awaited when the load ends.
GRACE_SECONDS = 5.0
REPORT_SECONDS = 1.0
DRAINED = "drained"


@events.init_command_line_parser.add_listener
def _add_arguments(parser: Any) -> None:
    parser.add_argument("--scenario", default="mixed", help="What the users do: a name, or FILE.py:NAME.")
    parser.add_argument("--rate", type=float, default=0.0, help="Requests per second of all users; 0: no pause.")
    parser.add_argument("--length", type=float, default=0.0, help="Seconds the test lasts; 0: until Ctrl-C.")
    parser.add_argument("--log-folder", default="", help="Folder for requests.csv, generator.csv and workers.csv.")


class Shared:
    """What the users of this process share. Locust makes its users itself, so it cannot be passed to them."""

    schedule = Schedule(0.0)
    log = RequestLog()
    users: "list[User]" = []  # noqa: RUF012  there is one of each in a process
    tallies: "dict[str, Tally]" = {}  # noqa: RUF012
    ended: Any = None  # an event: no further requests are sent


class Recorder:
    """Starts and ends the load of this process, and sees to it that all that happens is in the log."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self._environment, self._runner = environment, runner
        self._options = environment.parsed_options
        self._is_worker, self._is_master = isinstance(runner, WorkerRunner), isinstance(runner, MasterRunner)
        self._drained = 0
        Shared.log = RequestLog("" if self._is_worker else self._options.log_folder)

    def begin(self, **_: Any) -> None:
        """Start the schedule when Locust starts the test."""
        Shared.ended = gevent.event.Event()
        if self._is_master:
            for index in self._runner.worker_indexes.values():
                Shared.log.worker(clock.now(), index, 0.0)
            gevent.spawn(self._end_when_workers_have)
            return
        step = max(1, self._options.expect_workers) if self._is_worker else 1
        Shared.schedule = Schedule(self._options.rate, self._index, step)
        if not self._is_worker:
            Shared.log.worker(clock.now(), 0, 0.0)
        for work in (self._beat, self._watch, self._end_in_time):
            gevent.spawn(work)

    @property
    def _index(self) -> int:
        return max(0, self._runner.worker_index)

    def _beat(self) -> None:
        """Log how late a timer fires: so late does this process send a request, or notice an answer."""
        while True:
            due = time.perf_counter() + BEAT_SECONDS
            gevent.sleep(BEAT_SECONDS)
            now = time.perf_counter()
            Shared.log.beat(clock.OFFSET + now, self._index, max(0.0, now - due) * 1000)
            self._enter_tallies()
            Shared.log.flush()

    def _enter_tallies(self) -> None:
        for tally in Shared.tallies.values():
            tally.enter(self._environment.stats, Shared.log)

    def _watch(self) -> None:
        while True:
            gevent.sleep(WATCH_SECONDS)
            now = time.perf_counter()
            for user in Shared.users:
                user.connection.abort_overdue(now)

    def _end_in_time(self) -> None:
        # Locust's own --run-time knows whole seconds only.
        if not self._options.length:
            return
        gevent.sleep(self._options.length + (SPREAD_SECONDS if self._is_worker else 0.0))
        now = time.perf_counter()
        Shared.ended.set()
        deadline = now + GRACE_SECONDS
        while any(user.pending for user in Shared.users) and time.perf_counter() < deadline:
            gevent.sleep(BEAT_SECONDS)
        self._log_unfinished(now)
        if self._is_worker:
            self._runner.send_message(DRAINED, {"log": Shared.log.take(), "now": clock.now()})
        else:
            self._runner.quit()

    def _log_unfinished(self, until: float) -> None:
        """Log what was due up to `until` and has no answer: sent and unanswered, or never sent."""
        now = time.perf_counter()
        self._enter_tallies()
        for user in Shared.users:
            if user.pending is not None and user.pending.milliseconds:  # answered: a behaviour still works on it
                user.settle(user.pending)
            elif user.pending is not None:
                user.log(user.pending, (now - user.pending.sent) * 1000, UNANSWERED)
        waiting = [user.due for user in Shared.users if user.due is not None and user.due <= until]
        for due in [*waiting, *Shared.schedule.never_taken(until)] if Shared.schedule.rate else []:
            Shared.log.request(clock.OFFSET + due, clock.OFFSET + now, UNSENT, 0.0, 0, UNSENT)

    def stopping(self, **_: Any) -> None:
        """Locust stops the test, perhaps before its time is over."""
        if not self._is_master and not Shared.ended.is_set():
            Shared.ended.set()
            self._log_unfinished(time.perf_counter())

    # Between a master and its workers.

    def _end_when_workers_have(self) -> None:
        if not self._options.length:
            return
        gevent.sleep(self._options.length)
        deadline = time.perf_counter() + PATIENCE_SECONDS + GRACE_SECONDS
        while self._drained < len(self._runner.worker_indexes) and time.perf_counter() < deadline:
            gevent.sleep(BEAT_SECONDS)
        self._runner.greenlet.kill(block=False)  # Locust ends, and quits its workers itself: it takes half a second

    def drained(self, environment: Any, msg: Any, **_: Any) -> None:
        """A worker has ended its load."""
        self._drained += 1
        self._take_in(msg.node_id, msg.data)

    def report(self, data: dict[str, Any], **_: Any) -> None:
        """Add this worker's log to what it reports to its master."""
        data["log"], data["now"] = Shared.log.take(), clock.now()

    def reported(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        """Take in what a worker has reported."""
        self._take_in(client_id, data)

    def _take_in(self, client_id: str, data: dict[str, Any]) -> None:
        now = clock.now()
        if "now" in data:
            Shared.log.worker(now, self._runner.get_worker_index(client_id), (now - data["now"]) * 1000)
        Shared.log.write(data.get("log", {}))
        Shared.log.flush()


@events.init.add_listener
def _record(environment: Any, runner: Any, **_: Any) -> None:
    # gevent's timers count from when its loop last looked at the clock, which was before everything was imported:
    # without this the run is as much too short as starting took.
    gevent.get_hub().loop.update_now()
    # Locust rounds to two digits by default: 143 ms would be counted as 140.
    locust.stats.bucket_response_time = lambda milliseconds: round(milliseconds, 1)
    locust.runners.WORKER_REPORT_INTERVAL = REPORT_SECONDS
    recorder = Recorder(environment, runner)
    environment.events.test_start.add_listener(recorder.begin)
    environment.events.test_stopping.add_listener(recorder.stopping)
    environment.events.report_to_master.add_listener(recorder.report)
    environment.events.worker_report.add_listener(recorder.reported)
    environment.events.quit.add_listener(lambda **_: Shared.log.close())
    if isinstance(runner, MasterRunner):
        runner.register_message(DRAINED, recorder.drained)


class Prepared(NamedTuple):
    """A request as bytes, and where its successes are counted."""

    method: str
    label: str
    data: bytes
    tally: Tally


class User(locust.User):
    """Takes the turns of the scenario, one request at a time, each when the schedule says that one is due."""

    abstract = True
    is_fast = False
    _arrivals = itertools.count()

    def on_start(self) -> None:
        self.pending: Exchange | None = None  # the request that is on its way
        self.due: float | None = None  # a due time that was taken, and whose request is not sent yet
        options = self.environment.parsed_options
        headers = json.loads(os.environ.get(HEADERS_VARIABLE, "{}"))
        self.connection = RawConnection(self.host)
        transport = RawTransport(self.connection, self.host) if self.is_fast else RequestsTransport()
        self.session = Session(self.host, headers, transport, self)
        scenario = find(options.scenario, self.is_fast)
        self.wrong_answer = (*WRONG_ANSWER, *scenario.errors)
        # Users begin at different turns, or all would read, then all would write.
        turns = scenario.turns()
        first = next(self._arrivals) % len(turns)
        prepare = self._prepared if self.is_fast else lambda turn: turn
        self.turns = itertools.cycle([prepare(turn) for turn in turns[first:] + turns[:first]])
        Shared.users.append(self)

    def _prepared(self, turn: Any) -> Any:
        """A request that is always the same, as bytes; any other behaviour as it is."""
        if not isinstance(turn, Request):
            return turn
        data = turn.encode(self.connection.host, self.connection.prefix, self.session.headers)
        tally = Shared.tallies.setdefault(turn.label, Tally(turn.method, turn.label))
        return Prepared(turn.method, turn.label, data, tally)

    @task
    def take_turns(self) -> None:
        """Take turns until the load ends, and then wait for Locust to end this user."""
        for turn in self.turns:
            if type(turn) is Prepared:
                self.send_prepared(turn)
            else:
                self.take_turn(turn)
            if Shared.ended.is_set():
                gevent.event.Event().wait()

    def take_turn(self, behaviour: Any) -> None:
        """Let a behaviour send its requests. Its own mistakes are reported as Locust reports them."""
        try:
            behaviour(self.session)
        except Exception as error:
            if not self.session.accounts_for(error, self.wrong_answer):
                self.environment.events.user_error.fire(user_instance=self, exception=error, tb=error.__traceback__)
        finally:
            self.session.settle()
        if self.due is not None or not Shared.schedule.rate:
            gevent.sleep(0)  # a behaviour that sends nothing must not keep the others from running

    def send_prepared(self, prepared: Prepared) -> None:
        """Send a prepared request: as a behaviour would, without all that it does not need."""
        exchange = self.begin(prepared.method, prepared.label)
        try:
            exchange.status, _, body = self.connection.exchange(prepared.data)
        except requests.RequestException as error:
            exchange.error = error
        else:
            exchange.judge(len(body))
        answered = time.perf_counter()
        if exchange.outcome == OK and self.pending is exchange:
            prepared.tally.add((exchange.due, exchange.sent, answered, exchange.size, exchange.status))
            self.pending = None
        else:
            exchange.milliseconds = (answered - exchange.sent) * 1000
            self.settle(exchange)

    # What a session is measured by: see `loadtests.sessions.Meter`.

    def begin(self, method: str, name: str) -> Exchange:
        if self.due is None:
            self.due = Shared.schedule.take()
        if Shared.schedule.rate:
            self._wait_until(self.due)
        if Shared.ended.is_set():
            gevent.event.Event().wait()  # the request was due after the end: it is not sent
        sent = time.perf_counter()
        due = self.due if Shared.schedule.rate else sent
        self.due = None
        self.pending = Exchange(method, name, due, sent)
        return self.pending

    def answered(self, exchange: Exchange) -> None:
        exchange.milliseconds = (time.perf_counter() - exchange.sent) * 1000

    def settle(self, exchange: Exchange) -> None:
        if self.pending is not exchange:
            return  # logged as unanswered, when the test ended
        self.environment.events.request.fire(
            request_type=exchange.method,
            name=exchange.label,
            response_time=exchange.milliseconds,
            response_length=exchange.size,
            exception=exchange.error,
            context={},
        )
        self.log(exchange, exchange.milliseconds, exchange.outcome)
        self.pending = None

    def log(self, exchange: Exchange, milliseconds: float, outcome: str) -> None:
        """Log a request with what became of it."""
        due, sent = clock.OFFSET + exchange.due, clock.OFFSET + exchange.sent
        Shared.log.request(due, sent, exchange.label, milliseconds, exchange.status, outcome)
        self.pending = None

    def _wait_until(self, due: float) -> None:
        delay = due - time.perf_counter()
        if delay > 1.0:
            Shared.ended.wait(delay)
        elif delay > 0:
            gevent.sleep(delay)


class Caller(User):
    """A user with the library requests, as most Python clients are."""


class FastCaller(User):
    """A user on raw sockets: for finding out how much a service can take."""

    is_fast = True
