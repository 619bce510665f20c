"""The session with which behaviours send requests: a subset of requests' interface, the same for every kind of user.

    session.base_url                       the address of the service, without a slash at the end
    session.headers                        headers that are sent with each request
    session.memory                         a dict for what a behaviour wants to remember of its user
    session.get(url, ...), .post, .put, .patch, .delete, .head, .options
    session.request(method, url, params=, json=, data=, headers=, timeout=, name=)

`url` is a path, or an absolute address. `name` is what the request is called in tables, else its method and path.
Redirects are not followed. An answer has `status_code`, `ok`, `reason`, `url`, `headers`, `content`, `text`, `json()`
and `raise_for_status()`. Without an answer `requests.ConnectionError` or `requests.Timeout` is raised.

Each request takes the next due time of the schedule, and waits for it. A status of 429 is an outcome of its own, one
of 400 and above a failure. A behaviour that finds an answer wrong says so with `assert`, or by raising an exception of
requests or of the scenario's `ERRORS`: its last request then counts as failed.
"""

import json as json_format
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from loadtests.request_log import FAILED, OK, REFUSED
from loadtests.scenarios import request_name

# The environment variable with the headers of all requests, as JSON: others could read them on a command line.
HEADERS_VARIABLE = "LOADTESTS_HEADERS"
TOO_MANY = 429
FIRST_ERROR = 400
CONNECT_SECONDS = 3.05
ANSWER_SECONDS = 15.0
WRONG_ANSWER = (AssertionError, requests.RequestException)


class Answer:
    """An HTTP answer, with the names that requests gives its parts."""

    def __init__(self, url: str, status: int, reason: str, headers: Mapping[str, str], content: bytes) -> None:
        self.url = url
        self.status_code = status
        self.reason = reason
        self.headers: Mapping[str, str] = CaseInsensitiveDict(headers)
        self.content = content

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status_code < FIRST_ERROR

    @property
    def text(self) -> str:
        """The body as text in UTF-8."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises `requests.JSONDecodeError`."""
        try:
            return json_format.loads(self.content)
        except ValueError as error:
            raise requests.JSONDecodeError(str(error), self.text[:100], 0) from error

    def raise_for_status(self) -> None:
        """Raise `requests.HTTPError` for a status of 400 and above."""
        if not self.ok:
            raise requests.HTTPError(f"{self.status_code} {self.reason} for {self.url}")


class Transport(Protocol):
    """Sends one request over the network and returns the answer."""

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float | None
    ) -> Answer:
        """Raises `requests.ConnectionError` or `requests.Timeout`."""

    def close(self) -> None:
        """Close the connections."""


class RequestsTransport:
    """Sends with the library requests: what most Python clients do, and what they cost."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float | None
    ) -> Answer:
        limits = (CONNECT_SECONDS, timeout or ANSWER_SECONDS)
        found = self._session.request(
            method, url, headers=dict(headers), data=body, timeout=limits, allow_redirects=False
        )
        return Answer(url, found.status_code, found.reason, found.headers, found.content)

    def close(self) -> None:
        self._session.close()


@dataclass
class Exchange:
    """A request and what became of it. Times are on the clock `time.perf_counter`; a status of 0 is no answer."""

    method: str
    name: str
    due: float
    sent: float
    milliseconds: float = 0.0
    status: int = 0
    size: int = 0
    error: Exception | None = None

    def judge(self, size: int) -> None:
        """Take the answer for what its status says; its body has `size` bytes."""
        self.size = size
        if self.status >= FIRST_ERROR and self.status != TOO_MANY:
            self.error = requests.HTTPError(f"status {self.status}")

    @property
    def outcome(self) -> str:
        """What became of it."""
        if self.status == TOO_MANY:
            return REFUSED
        return OK if self.error is None else FAILED

    @property
    def label(self) -> str:
        """What it is called in tables: refused requests have a row of their own."""
        return f"{self.name} {REFUSED}" if self.outcome == REFUSED else self.name


class Meter(Protocol):
    """What a session tells about its requests, and asks when the next is due."""

    def begin(self, method: str, name: str) -> Exchange:
        """Wait until the next request is due, and begin it."""

    def answered(self, exchange: Exchange) -> None:
        """Note when the answer came."""

    def settle(self, exchange: Exchange) -> None:
        """Count a request, when it is known what became of it."""


class Session:
    """See the text of this module. One user has one session, and sends one request at a time."""

    def __init__(self, base_url: str, headers: Mapping[str, str], transport: Transport, meter: Meter) -> None:
        self.base_url = base_url.rstrip("/")
        self.headers: dict[str, str] = dict(headers)
        self.memory: dict[str, Any] = {}
        self._transport, self._meter = transport, meter
        self._unsettled: Exchange | None = None

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Any = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = None,
        name: str | None = None,
    ) -> Answer:
        """Send a request when it is due, and return its answer."""
        self.settle()
        address = url if "://" in url else f"{self.base_url}/{url.lstrip('/')}"
        if params:
            address += ("&" if "?" in address else "?") + urlencode(params, doseq=True)
        sent, body = _encoded(json, data)
        fields = {**self.headers, **sent, **(headers or {})}
        name = request_name(method, urlsplit(address).path or "/") if name is None else str(name)
        exchange = self._unsettled = self._meter.begin(method, name)
        try:
            limit = timeout[-1] if isinstance(timeout, tuple) else timeout
            answer = self._transport.send(method, address, fields, body, limit)
        except requests.RequestException as error:
            exchange.error = error
            raise
        else:
            exchange.status = answer.status_code
            exchange.judge(len(answer.content))
            return answer
        finally:
            self._meter.answered(exchange)

    def settle(self) -> None:
        """Count the last request as what it is now known to be."""
        if self._unsettled is not None:
            exchange, self._unsettled = self._unsettled, None
            self._meter.settle(exchange)

    def accounts_for(self, error: Exception, wrong_answer: tuple[type[Exception], ...]) -> bool:
        """Whether the last request accounts for the exception of a behaviour; if the answer was wrong, it failed."""
        last = self._unsettled
        if last is None:
            return False
        if last.outcome == OK and isinstance(error, wrong_answer):
            last.error = error
        return last.outcome != OK

    def get(self, url: str, **arguments: Any) -> Answer:
        return self.request("GET", url, **arguments)

    def post(self, url: str, **arguments: Any) -> Answer:
        return self.request("POST", url, **arguments)

    def put(self, url: str, **arguments: Any) -> Answer:
        return self.request("PUT", url, **arguments)

    def patch(self, url: str, **arguments: Any) -> Answer:
        return self.request("PATCH", url, **arguments)

    def delete(self, url: str, **arguments: Any) -> Answer:
        return self.request("DELETE", url, **arguments)

    def head(self, url: str, **arguments: Any) -> Answer:
        return self.request("HEAD", url, **arguments)

    def options(self, url: str, **arguments: Any) -> Answer:
        return self.request("OPTIONS", url, **arguments)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


def _encoded(json: Any, data: Any) -> tuple[dict[str, str], bytes | None]:
    """The content type and the body in bytes."""
    if json is not None:
        return {"Content-Type": "application/json"}, json_format.dumps(json).encode()
    if isinstance(data, Mapping):
        return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(data, doseq=True).encode()
    return {}, data.encode() if isinstance(data, str) else data
