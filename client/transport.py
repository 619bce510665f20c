"""One request to the service: sent until it is answered, with the answer's errors as exceptions."""

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests

from client.errors import ClientError, NotFound, Refused, ServiceUnavailable, TooMany

Answer = TypeVar("Answer")

# Seconds to connect, and to wait for each part of an answer.
TIMEOUT = (3.05, 15.0)
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0


class Transport:
    """Sends requests, again if need be, and remembers how new the newest answer was.

    Every answer tells how far it reaches (`Lab-Seen`). Sending the highest number met so far makes
    every later answer include all of it, whichever process gives it: a client reads its own writes.
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
        read: Callable[[dict[str, Any]], Answer],
        headers: dict[str, str] | None = None,
        **arguments: Any,
    ) -> Answer:
        """What `read` makes of the JSON object that is answered. The request must be safe to repeat.

        What may pass is tried again, `retries` times, after pauses that double, vary by chance so that
        many clients do not come back at once, and are at least as long as the service asks for.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._once(method, path, read, headers or {}, arguments)
            except (ServiceUnavailable, TooMany) as error:
                if attempt == self._retries or error.retry_after > LONGEST_PAUSE:
                    raise
                longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
                time.sleep(error.retry_after + random.uniform(0, longest))
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Give back the connections."""
        self._session.close()

    def _once(
        self,
        method: str,
        path: str,
        read: Callable[[dict[str, Any]], Answer],
        headers: dict[str, str],
        arguments: dict[str, Any],
    ) -> Answer:
        sent = self._headers | headers | ({"Lab-Seen": str(self._seen)} if self._seen else {})
        try:
            response = self._session.request(
                method, self.base_url + path, headers=sent, timeout=self._timeout, **arguments
            )
        except requests.ConnectionError as error:
            raise ServiceUnavailable(f"no service answers at {self.base_url}: is it running?") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise ServiceUnavailable(f"{self.base_url} broke off in the middle of its answer") from error
        except requests.Timeout as error:
            raise ServiceUnavailable(f"{self.base_url} took longer than {self._timeout} s to answer") from error
        except requests.RequestException as error:
            raise ClientError(f"{self.base_url} cannot be asked: {error}") from error
        document = _json(response)
        if not response.ok:
            raise _error(response, document)
        try:
            answer = read(document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _not_the_service(response) from error
        seen = response.headers.get("Lab-Seen", "")
        if seen.isdigit():
            self._seen = max(self._seen, int(seen))
        return answer


def raise_for(response: requests.Response) -> None:
    """Raises the error that `response` is, if it is one."""
    if not response.ok:
        raise _error(response, _json(response))


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except requests.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise _not_the_service(response)
    return document


def _not_the_service(response: requests.Response) -> ServiceUnavailable:
    return ServiceUnavailable(f"{response.url} answered {response.status_code}, but not as the message service does")


def _error(response: requests.Response, document: dict[str, Any]) -> ClientError:
    detail = str(document.get("detail", response.reason))
    status = response.status_code
    if status == requests.codes.too_many_requests:
        return TooMany(detail, status, _retry_after(response))
    if status >= requests.codes.server_error:
        return ServiceUnavailable(f"the service answered {status}: {detail}", _retry_after(response))
    given = [each for each in document.get("errors", []) if isinstance(each, dict)]
    errors = tuple((str(each.get("field")), str(each.get("message"))) for each in given)
    kind = NotFound if status == requests.codes.not_found else Refused
    return kind(detail, status, errors)


def _retry_after(response: requests.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0
