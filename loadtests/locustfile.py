"""What Locust runs: users who take the turns of a scenario, and a log of every request.

Started by `loadtests.run`, in a process of its own: gevent changes the whole interpreter.
"""

import contextlib
import csv
import itertools
import random
import re
import time
from typing import Any
from urllib.parse import urlsplit

import gevent
import locust.stats
from locust import HttpUser, events, task
from locust.clients import HttpSession

from client import ClientError, MessageClient
from loadtests.scenarios import SCENARIOS, turns

MESSAGE_ID = re.compile(r"[0-9a-f]{24}")
TOO_MANY = 429
_arrivals = itertools.count()


@events.init_command_line_parser.add_listener
def _add_arguments(parser: Any) -> None:
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="mixed", help="What the users do.")
    parser.add_argument("--rate", type=float, default=0.0, help="Requests per second of all users; 0: no pause.")
    parser.add_argument("--request-log", default="", help="File for a CSV row about each request.")


@events.test_start.add_listener
def _log_requests(environment: Any, **_: Any) -> None:
    # Locust rounds to two digits by default: 143 ms would be counted as 140.
    locust.stats.bucket_response_time = lambda milliseconds: round(milliseconds, 1)
    path = environment.parsed_options.request_log
    if not path:
        return
    file = open(path, "w", newline="")  # noqa: SIM115, PTH123  closed when the test stops
    log = csv.writer(file)
    log.writerow(["time", "name", "milliseconds", "status"])

    def one_request(name: str, response_time: float, start_time: float, response: Any = None, **_: Any) -> None:
        status = getattr(response, "status_code", 0) or 0
        log.writerow([f"{start_time:.6f}", name, f"{response_time:.3f}", status])

    environment.events.request.add_listener(one_request)
    environment.events.quitting.add_listener(lambda **_: file.close())


@events.test_stop.add_listener
def _let_the_summary_be_written(**_: Any) -> None:
    # Locust writes its CSVs once a second, and not once more at the end: the last requests would be missing.
    gevent.sleep(locust.stats.CSV_STATS_INTERVAL_SEC + 0.2)


class Session(HttpSession):
    """Names requests by method and path, not by each id, and takes a refused one for what it is.

    A 429 is the rate limit at work: an outcome with a row of its own, not a failure of the run.
    """

    def request(self, method: str, url: str, **arguments: Any) -> Any:
        name = f"{method} {MESSAGE_ID.sub('{id}', urlsplit(url).path)}"
        with super().request(method, url, name=name, catch_response=True, **arguments) as response:
            if response.status_code == TOO_MANY:
                response.request_meta["name"] = f"{name} refused"
                response.success()
        return response


class Caller(HttpUser):
    """Somebody who uses the service through the client library, one request at a time."""

    def on_start(self) -> None:
        session = Session(self.host, self.environment.events.request, self, pool_manager=self.pool_manager)
        session.trust_env = False
        self.messages = MessageClient(self.host, session=session, retries=0)
        # Users begin at different turns, or all would read, then all would write.
        self.turns = itertools.cycle(turns(self.environment.parsed_options.scenario))
        for _ in range(next(_arrivals)):
            next(self.turns)
        # … and at different times, or they would arrive in bursts and wait for each other.
        options = self.environment.parsed_options
        self.period = options.num_users / options.rate if options.rate else 0.0
        self.due = time.perf_counter() + random.uniform(0, self.period)
        gevent.sleep(max(0.0, self.due - time.perf_counter()))

    def wait_time(self) -> float:
        """Seconds until this user's next request is due; none is left out if the service was slow."""
        self.due += self.period
        return max(0.0, self.due - time.perf_counter()) if self.period else 0.0

    @task
    def take_turn(self) -> None:
        with contextlib.suppress(ClientError):  # Locust has counted it, with what the service answered
            next(self.turns)(self.messages)
