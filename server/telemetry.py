"""Telemetry: Prometheus metrics, and JSON logs."""

import asyncio
import bisect
import itertools
import json
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Gauge, Histogram, Summary, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from server import phases
from server.phases import DATABASE, IN_USE, POOL, QUEUE, Phases

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

# What requests have spent their time on, each a metric. Several may wait for one operation, and each is counted.
ALL = "all"
SPENT = {
    ALL: ("http_request_seconds", "Time spent on requests."),
    QUEUE: ("http_request_queue_seconds", "Time waited in the queue of writes, for the commit of others to end."),
    DATABASE: ("http_request_database_seconds", "Time waited for MongoDB."),
    POOL: (
        "http_request_pool_seconds",
        "Time waited for a free connection to MongoDB; part of the time for MongoDB.",
    ),
    IN_USE: (
        "http_request_connection_seconds",
        "Time waited with a connection to MongoDB; part of the time for MongoDB.",
    ),
}


class InFlight:
    """Counts the requests that are being answered, and waits until there are none."""

    def __init__(self) -> None:
        self.count = 0
        self._none: asyncio.Event | None = None  # while somebody waits

    def enter(self) -> None:
        """Count a request that has arrived."""
        self.count += 1

    def leave(self) -> None:
        """Stop counting a request: it is answered, or its caller has gone."""
        self.count -= 1
        if self._none is not None and self.count == 0:
            self._none.set()

    async def none_left(self) -> None:
        """Return when no request is being answered."""
        while self.count:
            self._none = asyncio.Event()
            await self._none.wait()


class TimeSpent(Collector):
    """What requests have spent their time on so far, by route: also those that are not answered yet.

    Otherwise a minute with a database that hangs would look, until it ends, like a minute in which nobody waited.
    """

    def __init__(self, durations: "Durations") -> None:
        self._durations = durations
        self._ended: defaultdict[tuple[str, str], float] = defaultdict(float)  # by phase and route
        # A request whose caller has gone may never end; nothing but its task keeps it here.
        self._unanswered: WeakKeyDictionary[Phases, str] = WeakKeyDictionary()

    def begun(self, route: str) -> Phases:
        """Start timing a request."""
        begun = phases.start()
        self._unanswered[begun] = route
        return begun

    def ended(self, begun: Phases, spent: Mapping[str, float]) -> None:
        """A request was answered, which has `spent` so much."""
        route = self._unanswered.pop(begun, None)
        if route is not None:
            for phase, seconds in spent.items():
                self._ended[phase, route] += seconds

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The metrics, as `prometheus_client` asks for them."""
        totals, now = self._ended.copy(), time.perf_counter()
        for route, seconds in self._durations.by_route():
            totals[ALL, route] += seconds
        for unanswered, route in self._unanswered.items():
            for phase, seconds in {ALL: now - unanswered.began, **unanswered.so_far()}.items():
                totals[phase, route] += seconds
        routes = sorted({route for _, route in totals})
        for phase, (name, what) in SPENT.items():
            family = CounterMetricFamily(name, what, labels=["route"])
            for route in routes:
                family.add_metric([route], totals[phase, route])
            yield family


class Durations(Collector):
    """How long answers took, as a histogram for each method, route and status.

    `prometheus_client.Histogram` takes two locks for an observation, which costs more than all else that is noted of a
    request; this one is only ever used by the thread of the event loop.
    """

    def __init__(self, name: str, what: str, labels: Sequence[str]) -> None:
        self._about = name, what
        self._labels = labels
        # For each combination how many answers are in each bucket and in the last, which has no bound, and seconds.
        self._seen: dict[tuple[str, str, int], tuple[list[int], list[float]]] = {}

    def observe(self, labels: tuple[str, str, int], seconds: float) -> None:
        """Count one answer."""
        seen = self._seen.get(labels)
        if seen is None:
            seen = self._seen[labels] = [0] * (len(BUCKETS) + 1), [0.0]
        counts, total = seen
        counts[bisect.bisect_left(BUCKETS, seconds)] += 1
        total[0] += seconds

    def by_route(self) -> Iterator[tuple[str, float]]:
        """The routes of what was counted, each as often as it comes, and seconds."""
        for (_, route, _), (_, total) in self._seen.items():
            yield route, total[0]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The metrics, as `prometheus_client` asks for them."""
        family = HistogramMetricFamily(*self._about, labels=self._labels)
        bounds = [*map(floatToGoString, BUCKETS), "+Inf"]
        for (method, route, status), (counts, total) in self._seen.items():
            family.add_metric(
                (method, route, f"{status:d}"), list(zip(bounds, itertools.accumulate(counts), strict=True)), total[0]
            )
        yield family


class Metrics:
    """The Prometheus metrics of this process. Durations are in seconds."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, in_flight: InFlight) -> None:
        self.registry = CollectorRegistry()
        self._durations = Durations("http_request_duration_seconds", "Time to answer.", ("method", "route", "status"))
        self.registry.register(self._durations)
        self._spent = TimeSpent(self._durations)
        self.registry.register(self._spent)
        self.connection_wait = Summary(
            "database_connection_wait_seconds", "Time an operation waited for a connection.", registry=self.registry
        )
        self.connection_use = Summary(
            "database_connection_use_seconds", "Time an operation used a connection.", registry=self.registry
        )
        self.unsent = Gauge(
            "http_answers_unsent_seconds", "Time that answers have waited to be sent, so far.", registry=self.registry
        )
        self.passed_over = Gauge(
            "documents_passed_over",
            "Documents in the database that are no messages, met so far.",
            registry=self.registry,
        )
        self.in_flight = Gauge("http_requests_in_flight", "Requests being answered now.", registry=self.registry)
        self.in_flight.set_function(lambda: in_flight.count)
        self.waiting = Gauge("writes_waiting", "Writes waiting for the database now.", registry=self.registry)
        worker = Gauge("worker_pid", "The process id of the worker whose metrics these are.", registry=self.registry)
        worker.set(os.getpid())
        self.loop_lag = Histogram(
            "event_loop_lag_seconds", "How late the event loop ran a timer.", buckets=BUCKETS, registry=self.registry
        )

    def begun(self, route: str) -> Phases:
        """Start timing the phases of a request: its time counts from now on, not only when it is answered."""
        return self._spent.begun(route)

    def answered(
        self, method: str, route: str, status: int, duration: float, begun: Phases | None, spent: Mapping[str, float]
    ) -> None:
        """Count one answered request, which has `spent` so much since its time was `begun` to be taken, if it was."""
        method = method if method in METHODS else "other"  # callers may invent any number of them
        self._durations.observe((method, route, status), duration)
        if begun is not None:
            self._spent.ended(begun, spent)

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    async def watch_event_loop(self, interval: float = 0.1) -> None:
        """Measure, for ever, how late a timer of `interval` seconds fires: the event loop was blocked for that long."""
        while True:
            due = time.perf_counter() + interval
            await asyncio.sleep(interval)
            self.loop_lag.observe(max(0.0, time.perf_counter() - due))


class JsonLines(logging.Formatter):
    """Formats a log record as one JSON object, with the fields passed as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        time_ = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line = {"time": time_, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


requests = logging.getLogger("server.requests")


def log_to_stderr(access_log: bool) -> None:
    """Log to stderr as JSON lines; requests are logged only with `access_log`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    requests.setLevel(logging.INFO if access_log else logging.WARNING)
    # Tornado would log a second line for each request.
    logging.getLogger("tornado.access").disabled = True
