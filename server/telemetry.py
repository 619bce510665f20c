"""Telemetry: time by phase for Server-Timing, Prometheus metrics, and JSON logs."""

import asyncio
import functools
import json
import logging
import os
import sys
import time
from contextvars import ContextVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest

_phases: ContextVar[dict[str, float]] = ContextVar("phases")

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


# The phases of a request. DATABASE is the whole wait for MongoDB, of which POOL is the wait for a free connection, and
# IN_USE the use of one. QUEUE is the wait for the commit of others, before that.
QUEUE, DATABASE, POOL, IN_USE = "queue", "db", "pool", "connection"


def start_phases() -> dict[str, float]:
    """Start timing the phases of the current request; the returned dict maps a phase to its seconds so far."""
    phases: dict[str, float] = {}
    _phases.set(phases)
    return phases


def current_phases() -> dict[str, float] | None:
    """The phases of the current request; None outside of one."""
    return _phases.get(None)


def charge(phases: dict[str, float] | None, name: str, seconds: float) -> None:
    """Add `seconds` to the phase `name`, if there is a request to charge."""
    if phases is not None:
        phases[name] = phases.get(name, 0.0) + seconds


class Phase:
    """A context manager that adds the block's duration to the phase `name` of the current request, if there is one."""

    __slots__ = ("_name", "_start")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        charge(current_phases(), self._name, time.perf_counter() - self._start)


class InFlight:
    """Counts the requests that are being answered, and waits until there are none."""

    def __init__(self) -> None:
        self.count = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        """Count a request that has arrived."""
        self.count += 1
        self._none.clear()

    def leave(self) -> None:
        """Stop counting a request: it is answered, or its caller has gone."""
        self.count -= 1
        if self.count == 0:
            self._none.set()

    async def none_left(self) -> None:
        """Return when no request is being answered."""
        await self._none.wait()


class Metrics:
    """The Prometheus metrics of this process. Durations are in seconds."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, in_flight: InFlight) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.duration = Histogram(
            "http_request_duration_seconds", "Time to answer.", labels, buckets=BUCKETS, registry=self.registry
        )
        # What requests have waited for. Several may wait for one operation (a group commit), and each is counted.
        waited_for = {
            QUEUE: ("queue", "in the queue of writes, for the commit of others to end"),
            DATABASE: ("database", "for MongoDB"),
            POOL: ("pool", "for a free connection to MongoDB; part of the time for MongoDB"),
            IN_USE: ("connection", "with a connection to MongoDB; part of the time for MongoDB"),
        }
        waits = {
            phase: Counter(
                f"http_request_{name}_seconds_total", f"Time waited {what}.", ("route",), registry=self.registry
            )
            for phase, (name, what) in waited_for.items()
        }
        # `labels` takes a lock at each call, so its results are cached.
        self._duration_of = functools.cache(self.duration.labels)
        self._waits = {phase: functools.cache(counter.labels) for phase, counter in waits.items()}
        self.connection_wait = Summary(
            "database_connection_wait_seconds", "Time an operation waited for a connection.", registry=self.registry
        )
        self.connection_use = Summary(
            "database_connection_use_seconds", "Time an operation used a connection.", registry=self.registry
        )
        self.unsent = Gauge(
            "http_answers_unsent_seconds", "Time that answers have waited to be sent, so far.", registry=self.registry
        )
        self.in_flight = Gauge("http_requests_in_flight", "Requests being answered now.", registry=self.registry)
        self.in_flight.set_function(lambda: in_flight.count)
        self.waiting = Gauge("writes_waiting", "Writes waiting for the database now.", registry=self.registry)
        worker = Gauge("worker_pid", "The process id of the worker whose metrics these are.", registry=self.registry)
        worker.set(os.getpid())
        self.loop_lag = Histogram(
            "event_loop_lag_seconds", "How late the event loop ran a timer.", buckets=BUCKETS, registry=self.registry
        )

    def answered(self, method: str, route: str, status: int, duration: float, phases: dict[str, float]) -> None:
        """Count one answered request."""
        method = method if method in METHODS else "other"  # callers may invent any number of them
        self._duration_of(method, route, status).observe(duration)
        for phase, seconds in phases.copy().items():  # a thread of the driver may still add to them
            self._waits[phase](route).inc(seconds)

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
