"""The exceptions that the client raises.

ClientError
├── ServiceUnavailable   no response, or a 5xx status: try again later
│   └── NotTheService    something else answers there
└── Refused              a 4xx status: the same request will be refused again
    ├── NotFound         404: there is no such message
    └── TooMany          429: over a rate limit; try again after `retry_after` seconds
"""


class ClientError(Exception):
    """Base class: a request could not be sent, or was not answered with success."""


class ServiceUnavailable(ClientError):
    """The service cannot be reached, or answered with a 5xx status and `Retry-After: retry_after` (seconds, or 0)."""

    def __init__(self, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class NotTheService(ServiceUnavailable):
    """What answers is not the message service. It will not be either the next time."""


class Refused(ClientError):
    """The service refused the request with the HTTP `status`. `errors` are pairs (field, how to correct it)."""

    def __init__(self, detail: str, status: int, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = errors


class NotFound(Refused):
    """There is no message with this id."""


class TooMany(Refused):
    """The request exceeds a rate limit; it may be repeated after `retry_after` seconds."""

    def __init__(self, detail: str, status: int, retry_after: float) -> None:
        super().__init__(detail, status)
        self.retry_after = retry_after
