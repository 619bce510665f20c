"""One request and its answer, on the fast path or not: request id, access, admission, timing, metrics, log line."""

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
from server.telemetry import InFlight, Metrics, requests

# Ids for requests that bring none: a random prefix for each process, and a counter, at a tenth of the cost of uuid4.
_process = secrets.token_hex(8)
_count = itertools.count(1)
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class Dependencies:
    """What every request is answered with. Whoever needs something else is given it by its route."""

    service: MessageService
    admission: Admission
    access: Access
    metrics: Metrics
    in_flight: InFlight


class Exchange:
    """One request and its answer, from its arrival until `answered`."""

    __slots__ = (
        "_dependencies", "caller", "duration", "method", "phases", "quotas", "request_id", "route", "started", "stored",
    )  # fmt: skip

    def __init__(self, dependencies: Dependencies, method: str, route: str, request_id: str | None) -> None:
        self._dependencies = dependencies
        self.method = method
        self.route = route
        sane = request_id is not None and SANE_REQUEST_ID.fullmatch(request_id)
        self.request_id = request_id if request_id and sane else f"{_process}{next(_count):016x}"
        self.caller = ANYONE
        self.quotas: tuple[Quota, ...] = ()
        self.stored = 0  # the sequence number of the message that this request has stored
        self.phases: dict[str, float] = {}
        self.started = time.perf_counter()
        self.duration = 0.0

    def identify(self, authorization: str | None) -> None:
        """Find out who calls, by the header `Authorization`. Raises `BadRequest` (401) for an unknown key."""
        self.caller = self._dependencies.access.caller(authorization)

    def admit(self, address: str, is_write: bool = False) -> None:
        """Count the request. Raises `OverLimit` and `Overloaded`. Without access keys a caller is an address."""
        client = address if self.caller == ANYONE else self.caller
        self.quotas = self._dependencies.admission.admit(client, is_write)

    def answer_headers(self) -> dict[str, str]:
        """The headers that every answer has; ends the timing, so call it when the rest of the answer is ready."""
        self.duration = time.perf_counter() - self.started
        database = self.phases.get("db", 0.0)
        own = max(0.0, self.duration - database)
        return {
            "X-Request-ID": self.request_id,
            "Lab-Seen": str(max(self.stored, self._dependencies.service.complete)),
            "Server-Timing": f"db;dur={database * 1000:.3f}, app;dur={own * 1000:.3f}",
            **quota_headers(self.quotas),
        }

    def answered(self, status: int) -> None:
        """Count the answer in the metrics, and write the access log."""
        database = self.phases.get("db", 0.0)
        self._dependencies.metrics.answered(self.method, self.route, status, self.duration, database)
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
                        "db_ms": round(database * 1000, 3),
                    }
                },
            )
