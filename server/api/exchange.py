"""What every request and response have in common: request id, access, admission, timing, metrics, access log."""

import itertools
import logging
import re
import secrets
import time
from dataclasses import dataclass

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

    __slots__ = (
        "_dependencies", "_phases", "caller", "database", "duration", "method", "quotas", "request_id", "route",
        "started", "stored",
    )  # fmt: skip

    def __init__(
        self, dependencies: Dependencies, method: str, route: str, request_id: str | None, started: float | None = None
    ) -> None:
        self._dependencies = dependencies
        self.method = method
        self.route = route
        is_valid = request_id is not None and VALID_REQUEST_ID.fullmatch(request_id)
        self.request_id = request_id if request_id and is_valid else f"{_process}{next(_count):016x}"
        self.caller = ANYONE
        self.quotas: tuple[Quota, ...] = ()
        self.stored = 0  # the sequence number of the message that this request has stored
        self.started = time.perf_counter() if started is None else started
        self.duration = self.database = 0.0  # seconds; of them, the wait for MongoDB
        self._phases: Phases | None = None

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

    def response_headers(self) -> dict[str, str]:
        """The headers of every response. Ends the timing, so call it when the rest of the response is ready."""
        self.duration = time.perf_counter() - self.started
        spent = self._phases.so_far() if self._phases is not None else {}
        self.database, queue = spent.get(DATABASE, 0.0), spent.get(QUEUE, 0.0)
        own = max(0.0, self.duration - self.database - queue)
        timing = f"db;dur={self.database * 1000:.3f}, app;dur={own * 1000:.3f}"
        return {
            "X-Request-ID": self.request_id,
            "Lab-Seen": str(max(self.stored, self._dependencies.service.complete)),
            "Server-Timing": f"{timing}, queue;dur={queue * 1000:.3f}" if queue else timing,
            **quota_headers(self.quotas),
        }

    def finished(self, status: int) -> None:
        """Record the response in the metrics and in the access log."""
        self._dependencies.metrics.answered(self.method, self.route, status, self.duration, self._phases)
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
