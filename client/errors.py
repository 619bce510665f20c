"""What can go wrong when one talks to the service.

ClientError
├── ServiceUnavailable   no answer, or one that says the service is broken or away: try again later
└── Refused              the service does not do what was asked: asking again will not help
    ├── NotFound         … because there is no such message
    └── TooMany          … unless one waits: more was asked for than is admitted
"""


class ClientError(Exception):
    """Anything that keeps a request from being answered as hoped."""


class ServiceUnavailable(ClientError):
    """The service cannot be reached, or cannot do it now; it asks to wait `retry_after` seconds."""

    def __init__(self, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Refused(ClientError):
    """The service refused the request. `errors` holds pairs of a field's name and its cure."""

    def __init__(self, detail: str, status: int, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = errors


class NotFound(Refused):
    """There is no such message."""


class TooMany(Refused):
    """Over the rate limit; `retry_after` is in seconds."""

    def __init__(self, detail: str, status: int, retry_after: float) -> None:
        super().__init__(detail, status)
        self.retry_after = retry_after
