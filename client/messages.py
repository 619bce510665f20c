"""MessageClient: the service's verbs as methods."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import requests

from client.errors import ClientError, Refused, ServiceUnavailable, TooMany

# Seconds to connect, and to wait for each part of an answer.
TIMEOUT = (3.05, 15.0)


@dataclass(frozen=True)
class Message:
    """A message as the service keeps it. `created_at` is aware, in UTC; `id` is 24 hex digits."""

    id: str
    text: str
    author: str
    created_at: datetime
    reply_to: str | None = None
    source: str = "api"

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Message":
        """Read what the service sent. Fields of a newer service are passed over."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(**known | {"created_at": datetime.fromisoformat(document["created_at"])})


class MessageClient:
    """Talks to the service at `base_url`, for example `http://127.0.0.1:8000`.

    Connections are kept and reused; a `session` of the caller's own (a load generator's, say) is used
    instead of a new one. Every method raises `ServiceUnavailable` or `Refused` (see `client.errors`).
    """

    def __init__(
        self,
        base_url: str,
        session: requests.Session | None = None,
        timeout: float | tuple[float, float] = TIMEOUT,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = session or requests.Session()
        self._timeout = timeout

    def hello(self) -> dict[str, Any]:
        """The service's greeting: its name, version and links. The service counts it as a visit."""
        return self._request("GET", "/")

    def send(self, text: str, author: str | None = None) -> Message:
        """Store a message; it is durable when this returns."""
        body = {"text": text} if author is None else {"text": text, "author": author}
        return Message.from_json(self._request("POST", "/messages", json=body))

    def recent(self, limit: int | None = None) -> list[Message]:
        """The `limit` newest messages (the service's default if None), newest first."""
        params = {} if limit is None else {"limit": limit}
        return [Message.from_json(each) for each in self._request("GET", "/messages", params=params)["messages"]]

    def close(self) -> None:
        """Give back the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            response = self._session.request(method, self.base_url + path, timeout=self._timeout, **arguments)
        except requests.ConnectionError as error:
            raise ServiceUnavailable(f"no service answers at {self.base_url}: is it running?") from error
        except requests.Timeout as error:
            raise ServiceUnavailable(f"{self.base_url} took longer than {self._timeout} s to answer") from error
        except requests.RequestException as error:
            raise ClientError(f"{self.base_url} cannot be asked: {error}") from error
        document = _json(response)
        if response.ok:
            return document
        raise _error(response, document)


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except requests.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ServiceUnavailable(f"{response.url} answered {response.status_code}, but not as the message service does")
    return document


def _error(response: requests.Response, document: dict[str, Any]) -> ClientError:
    detail = str(document.get("detail", response.reason))
    status = response.status_code
    if status == requests.codes.too_many_requests:
        return TooMany(detail, status, float(response.headers.get("Retry-After", 1)))
    if status >= requests.codes.server_error:
        return ServiceUnavailable(f"the service answered {status}: {detail}")
    errors = tuple((each["field"], each["message"]) for each in document.get("errors", []))
    return Refused(detail, status, errors)
