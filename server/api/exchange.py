"""What every request and response have in common: request id, access, admission, timing, metrics, access log."""

import functools
import itertools
import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from server.admission import Admission
from server.api.access import ANYONE, Access
from server.api.problems import quota_headers
from server.messages import MessageService, Quota
from server.phases import DATABASE, QUEUE, Phases
from server.telemetry import InFlight, Metrics, requests

# Ids of requests without X-Request-ID: a random prefix per process and a counter, at a tenth of the cost of uuid4.
_process = secrets.token_hex(8)
_count = itertools.count(1)
VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@functools.lru_cache(4096)  # the same few come again and again, and floats are dear to format
def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.3f}"


@dataclass(frozen=True)
class Dependencies:
    """The dependencies of every handler. A handler with further ones gets them from its route."""

    service: MessageService
    admission: Admission
    access: Access
    metrics: Metrics
    in_flight: InFlight


class Exchange:
    """A request and its response, from the request's arrival to `finished`.

    It arrived at `started` (seconds, of `time.perf_counter`), or now.
    """

    caller = ANYONE
    quotas: tuple[Quota, ...] = ()
    stored = 0  # the sequence number of the message that this request has stored
    duration = database = 0.0  # seconds; of them, the wait for MongoDB
    _phases: Phases | None = None
    _spent: Mapping[str, float] = MappingProxyType({})  # seconds, by phase

    def __init__(
        self, dependencies: Dependencies, method: str, route: str, request_id: str | None, started: float | None = None
    ) -> None:
        self._dependencies = dependencies
        self.method = method
        self.route = route
        if request_id is None or not VALID_REQUEST_ID.fullmatch(request_id):
            request_id = f"{_process}{next(_count):016x}"
        self.request_id = request_id
        self.started = time.perf_counter() if started is None else started

    def start_phases(self) -> None:
        """Time what this request waits for, in the current task. One that waits for nothing need not."""
        self._phases = self._dependencies.metrics.begun(self.route)

    def identify(self, authorization: str | None) -> None:
        """Identify the caller by the header `Authorization`. Raises `BadRequest` (401) for an unknown key."""
        self.caller = self._dependencies.access.caller(authorization)

    def admit(self, address: str, is_write: bool = False) -> None:
        """Count the request. Anonymous callers are distinguished by `address`. Raises `OverLimit` and `Overloaded`."""
        client = address if self.caller == ANYONE else self.caller
        self.quotas = self._dependencies.admission.admit(client, is_write)

    def admit_webhook(self) -> None:
        """Admit a webhook, to which no rate limit applies, unless too many writes wait. Raises `Overloaded`."""
        self._dependencies.admission.admit_webhook()

    def header_lines(self) -> str:
        """The header lines of every response. Ends the timing, so call it when the rest of the response is ready."""
        self.duration = time.perf_counter() - self.started
        if self._phases is None:  # it has waited for nothing
            timing = f"db;dur=0.000, app;dur={_milliseconds(int(self.duration * 1e6))}"
        else:
            self._spent = self._phases.so_far()
            timing = self._timing()
        seen = max(self.stored, self._dependencies.service.complete)
        lines = f"X-Request-ID: {self.request_id}\r\nLab-Seen: {seen}\r\nServer-Timing: {timing}\r\n"
        for name, value in quota_headers(self.quotas).items() if self.quotas else ():
            lines += f"{name}: {value}\r\n"
        return lines

    def _timing(self) -> str:
        self.database, queue = self._spent.get(DATABASE, 0.0), self._spent.get(QUEUE, 0.0)
        own = max(0.0, self.duration - self.database - queue)
        timing = f"db;dur={_milliseconds(int(self.database * 1e6))}, app;dur={_milliseconds(int(own * 1e6))}"
        return f"{timing}, queue;dur={_milliseconds(int(queue * 1e6))}" if queue else timing

    def finished(self, status: int) -> None:
        """Record the response in the metrics and in the access log."""
        self._dependencies.metrics.answered(self.method, self.route, status, self.duration, self._phases, self._spent)
        if requests.isEnabledFor(logging.INFO):
            requests.info(
                "request",
                extra={
                    "fields": {
                        "request_id": self.request_id,
                        "method": self.method,
                        "route": self.route,
                        "status": status,
                        "ms": round(self.duration * 1000, 3),
                        "db_ms": round(self.database * 1000, 3),
                    }
                },
            )
