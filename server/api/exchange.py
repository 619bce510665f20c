"""One request and its answer, whoever carries it: its id, what it is timed and counted by, its log line."""

import itertools
import logging
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

from server.admission import Admission
from server.api.access import ANYONE, Access
from server.api.problems import quota_headers
from server.messages import MessageService, Quota
from server.telemetry import InFlight, Metrics, requests

# Ids for requests that bring none: drawn once for each process, and then counted, at a tenth of the price.
_process = secrets.token_hex(8)
_count = itertools.count(1)
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class Edge:
    """What requests are answered with."""

    service: MessageService
    admission: Admission
    metrics: Metrics
    in_flight: InFlight
    access: Access
    openapi: dict[str, Any]


class Exchange:
    """Begins when a request has arrived, and ends with `answered`."""

    __slots__ = ("caller", "duration", "edge", "method", "phases", "quotas", "request_id", "route", "started", "stored")

    def __init__(self, edge: Edge, method: str, route: str, request_id: str | None) -> None:
        self.edge = edge
        self.method = method
        self.route = route
        sane = request_id is not None and SANE_REQUEST_ID.fullmatch(request_id)
        self.request_id = request_id if request_id and sane else f"{_process}{next(_count):016x}"
        self.caller = ANYONE
        self.quotas: tuple[Quota, ...] = ()
        self.stored = 0  # the number of the message this request has stored
        self.phases: dict[str, float] = {}
        self.started = time.perf_counter()
        self.duration = 0.0

    def identify(self, authorization: str | None) -> None:
        """Learn who calls. Raises `BadRequest` for nobody we know."""
        self.caller = self.edge.access.caller(authorization)

    def admit(self, address: str, is_write: bool = False) -> None:
        """Count the request. Raises `OverLimit` and `Overloaded`. Without access keys a caller is an address."""
        client = address if self.caller == ANYONE else self.caller
        self.quotas = self.edge.admission.admit(client, is_write)

    def answer_headers(self) -> dict[str, str]:
        """The headers that every answer has. To be asked for when the rest of it is ready."""
        self.duration = time.perf_counter() - self.started
        database = self.phases.get("db", 0.0)
        own = max(0.0, self.duration - database)
        return {
            "X-Request-ID": self.request_id,
            "Lab-Seen": str(max(self.stored, self.edge.service.newest)),
            "Server-Timing": f"db;dur={database * 1000:.3f}, app;dur={own * 1000:.3f}",
            **quota_headers(self.quotas),
        }

    def answered(self, status: int) -> None:
        """Count the answer, and log it."""
        database = self.phases.get("db", 0.0)
        self.edge.metrics.answered(self.method, self.route, status, self.duration, database)
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
