"""Send requests with retries, and raise error responses as exceptions."""

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests

from client.errors import ClientError, NotFound, Refused, ServiceUnavailable, TooMany

Result = TypeVar("Result")

# Seconds to connect, and to wait for each read of the response.
TIMEOUT = (3.05, 15.0)
FIRST_PAUSE = 0.1
MAX_PAUSE = 10.0


class Transport:
    """Sends requests, retries them, and keeps the highest `Lab-Seen` of all responses.

    Every response has a `Lab-Seen` header: the highest `seq` that its sender knew. A request that carries it is
    answered with at least these messages, by whichever process: so a client reads its own writes.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        session: requests.Session | None,
        timeout: float | tuple[float, float],
        retries: int,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = session or requests.Session()
        self._timeout = timeout
        self._retries = retries
        self._seen = 0
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}

    def request(
        self,
        method: str,
        path: str,
        read: Callable[[dict[str, Any]], Result],
        headers: dict[str, str] | None = None,
        **arguments: Any,
    ) -> Result:
        """Send a request and return `read(response's JSON object)`. The request must be safe to repeat.

        Retries up to `retries` times if the service is unavailable or a rate limit is exceeded, with exponential
        backoff and jitter, after at least the `Retry-After` of the response. Raises `ClientError`.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._once(method, path, read, headers or {}, arguments)
            except (ServiceUnavailable, TooMany) as error:
                if attempt == self._retries or error.retry_after > MAX_PAUSE:
                    raise
                time.sleep(error.retry_after + random.uniform(0, min(MAX_PAUSE, FIRST_PAUSE * 2**attempt)))
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _once(
        self,
        method: str,
        path: str,
        read: Callable[[dict[str, Any]], Result],
        headers: dict[str, str],
        arguments: dict[str, Any],
    ) -> Result:
        sent = self._headers | headers | ({"Lab-Seen": str(self._seen)} if self._seen else {})
        try:
            response = self._session.request(
                method, self.base_url + path, headers=sent, timeout=self._timeout, **arguments
            )
        except requests.ConnectionError as error:
            raise ServiceUnavailable(f"no service answers at {self.base_url}: is it running?") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise ServiceUnavailable(f"{self.base_url} closed the connection in the middle of its response") from error
        except requests.Timeout as error:
            raise ServiceUnavailable(f"{self.base_url} did not answer within {self._timeout} s") from error
        except requests.RequestException as error:
            raise ClientError(f"{self.base_url} cannot be used: {error}") from error
        document = _json(response)
        if not response.ok:
            raise _error(response, document)
        try:
            result = read(document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _unexpected(response) from error
        seen = response.headers.get("Lab-Seen", "")
        if seen.isdigit():
            self._seen = max(self._seen, int(seen))
        return result


def raise_for(response: requests.Response) -> None:
    """Raise the `ClientError` for a response with an error status; return if its status is success."""
    if not response.ok:
        raise _error(response, _json(response))


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except requests.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise _unexpected(response)
    return document


def _unexpected(response: requests.Response) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{response.url} answered {response.status_code}, but it is not the message service: correct the URL"
    )


def _error(response: requests.Response, document: dict[str, Any]) -> ClientError:
    detail = str(document.get("detail", response.reason))
    status = response.status_code
    if status == requests.codes.too_many_requests:
        return TooMany(detail, status, _retry_after(response))
    if status >= requests.codes.server_error:
        return ServiceUnavailable(f"the service answered {status}: {detail}", _retry_after(response))
    listed = [each for each in document.get("errors", []) if isinstance(each, dict)]
    errors = tuple((str(each.get("field")), str(each.get("message"))) for each in listed)
    kind = NotFound if status == requests.codes.not_found else Refused
    return kind(detail, status, errors)


def _retry_after(response: requests.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0
