"""Send requests with retries, and raise error responses as exceptions."""

import itertools
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import requests

from client.addresses import checked, is_of_this_machine, shown
from client.errors import ClientError, NotFound, NotTheService, Refused, ServiceUnavailable, TooMany

Result = TypeVar("Result")

# Seconds to connect, and to wait for each read of the response.
TIMEOUT = (3.05, 15.0)
# Seconds for which a request that fails for now is sent again: longer than a service takes to start anew.
PATIENCE = 5.0
FIRST_PAUSE = 0.1
MAX_PAUSE = 2.0
MAX_WAIT = 10.0  # for one attempt, where their number is given
# An empty proxy is none, whatever the environment says.
DIRECTLY = {"http": "", "https": "", "all": ""}
NUMBER = re.compile("[0-9]{1,15}")


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
        retries: int | None,
        patience: float,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._shown = shown(self.base_url)
        self._session = session or requests.Session()
        self._timeout = timeout
        self._retries = retries
        self._patience = patience
        self._seen = 0
        self._api_key = api_key

    def request(
        self,
        method: str,
        path: str,
        read: Callable[[dict[str, Any]], Result],
        headers: dict[str, str] | None = None,
        **arguments: Any,
    ) -> Result:
        """Send a request and return `read(response's JSON object)`. The request must be safe to repeat.

        Retries if the service is unavailable or a rate limit is exceeded, with exponential backoff and jitter, after at
        least the `Retry-After` of the response: `retries` times, or for as long as `patience`. Raises `ClientError`.
        """
        ends_at = time.monotonic() + self._patience
        for attempt in itertools.count():
            try:
                return self._once(method, path, read, headers or {}, arguments)
            except NotTheService:
                raise
            except (ServiceUnavailable, TooMany) as error:
                pause = error.retry_after + random.uniform(0.5, 1.0) * min(MAX_PAUSE, FIRST_PAUSE * 2**attempt)
                if self._retries is None:
                    goes_on = time.monotonic() + pause <= ends_at
                else:
                    goes_on = attempt < self._retries and pause <= MAX_WAIT
                if not goes_on:
                    raise
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _as_said(self) -> dict[str, Any]:
        """What keeps the environment and redirects out of a request; other sessions than those of `requests` do so."""
        if not isinstance(self._session, requests.Session):
            return {}
        proxies = DIRECTLY if is_of_this_machine(self.base_url) else None
        return {"proxies": proxies, "auth": _as_it_is, "allow_redirects": False}

    def _once(
        self,
        method: str,
        path: str,
        read: Callable[[dict[str, Any]], Result],
        headers: dict[str, str],
        arguments: dict[str, Any],
    ) -> Result:
        checked(self.base_url)
        own = {} if self._api_key is None else {"Authorization": f"Bearer {_checked_key(self._api_key)}"}
        sent = own | headers | ({"Lab-Seen": str(self._seen)} if self._seen else {})
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                headers=sent,
                timeout=self._timeout,
                **self._as_said(),
                **arguments,
            )
        except requests.exceptions.ProxyError as error:
            raise ServiceUnavailable(
                f"the proxy of the environment does not lead to {self._shown}: see HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
            ) from error
        except requests.ConnectionError as error:
            raise ServiceUnavailable(f"no service answers at {self._shown}: is it running?") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise ServiceUnavailable(f"{self._shown} closed the connection in the middle of its response") from error
        except requests.Timeout as error:
            raise ServiceUnavailable(f"{self._shown} did not answer within {self._timeout} s") from error
        except (requests.RequestException, UnicodeError) as error:
            raise ClientError(f"{self._shown} cannot be used ({type(error).__name__}): correct the URL") from error
        raise_for(response)
        try:
            result = read(_json(response) or {})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise NotTheService(
                f"{self._shown} answered {response.status_code}, but it is not the message service: correct the URL"
            ) from error
        seen = response.headers.get("Lab-Seen", "")
        if NUMBER.fullmatch(seen):
            self._seen = max(self._seen, int(seen))
        return result


def raise_for(response: requests.Response) -> None:
    """Raise the `ClientError` for a response with another status than success, whoever has sent it."""
    status, document = response.status_code, _json(response)
    if status < requests.codes.multiple_choices:
        return
    if document is None:  # of a gateway before the service, or of something else altogether
        document = {"detail": f"{status} {response.reason or ''}".strip() + f", by what answers at {_origin(response)}"}
    detail = str(document.get("detail", response.reason))
    if status < requests.codes.bad_request:
        to = response.headers.get("Location", "another address")
        raise Refused(f"the service has moved to {shown(to)}: give that address, without the path", status)
    if status == requests.codes.too_many_requests:
        raise TooMany(detail, status, _retry_after(response))
    if status >= requests.codes.server_error:
        raise ServiceUnavailable(f"the service answered {status}: {detail}", _retry_after(response))
    listed = document.get("errors")
    errors = tuple(
        (str(each.get("field")), str(each.get("message")))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    )
    kind = NotFound if status == requests.codes.not_found else Refused
    raise kind(detail, status, errors)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Our own header, if there is one: `requests` would put what ~/.netrc says in its place."""
    return request


def _checked_key(api_key: str) -> str:
    if not re.fullmatch("[!-~]+", api_key):
        raise ClientError("the access key holds a space, a line break or a letter beyond ASCII: give it as it was made")
    return api_key


def _json(response: requests.Response) -> dict[str, Any] | None:
    """The JSON object in the response; None if there is none."""
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _origin(response: requests.Response) -> str:
    scheme, _, rest = shown(response.url).partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _retry_after(response: requests.Response) -> float:
    """How long to wait, by the header Retry-After: seconds, or a date. 0 without one."""
    value = response.headers.get("Retry-After", "").strip()
    if NUMBER.fullmatch(value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
