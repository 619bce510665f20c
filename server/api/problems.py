"""Errors as `application/problem+json` (RFC 9457), and the table that maps errors to status codes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tornado.web import HTTPError

from server.messages import (
    Invalid,
    KeyReused,
    MessageError,
    NoSuchMessage,
    OverLimit,
    Overloaded,
    Quota,
    StoreRefused,
    StoreUnavailable,
    UnknownReply,
)

STATUS: dict[type[MessageError], HTTPStatus] = {
    Invalid: HTTPStatus.BAD_REQUEST,
    NoSuchMessage: HTTPStatus.NOT_FOUND,
    UnknownReply: HTTPStatus.UNPROCESSABLE_ENTITY,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    OverLimit: HTTPStatus.TOO_MANY_REQUESTS,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreRefused: HTTPStatus.SERVICE_UNAVAILABLE,
}
RETRY_AFTER = 1


class BadRequest(Exception):
    """A request that HTTP handling refuses. `errors` are pairs (field, how to correct it)."""

    def __init__(
        self,
        detail: str,
        errors: tuple[tuple[str, str], ...] = (),
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.errors = errors
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True)
class Problem:
    """An error response."""

    status: HTTPStatus
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The JSON object of RFC 9457, with the extension member `errors` for invalid input."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [{"field": field, "message": message} for field, message in self.errors]
        return document


def quota_headers(quotas: Sequence[Quota]) -> dict[str, str]:
    """The header fields of draft-ietf-httpapi-ratelimit-headers for these quotas."""
    if not quotas:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{each.name}";q={each.amount};w={each.window}' for each in quotas),
        "RateLimit": ", ".join(f'"{each.name}";r={each.remaining};t={each.reset}' for each in quotas),
    }


# The `errors` member for errors of the core: field, and how to correct it.
FIELDS: dict[type[MessageError], tuple[tuple[str, str], ...]] = {
    UnknownReply: (("reply_to", "name a message that exists"),),
    KeyReused: (("Idempotency-Key", "use a new one"),),
}
BUSY = {"Retry-After": str(RETRY_AFTER)}


def problem(error: BaseException | None, status: int = 500) -> Problem:
    """The error response for `error`, or for a `status` that Tornado has chosen."""
    match error:
        case BadRequest():
            return Problem(error.status, str(error), error.errors, error.headers)
        case MessageError():
            return _of_the_core(error)
        case HTTPError():
            status = error.status_code
    known = HTTPStatus(status)
    ours = known >= HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "internal error: report the X-Request-ID of this response" if ours else known.description
    return Problem(known, detail or known.phrase)


def _of_the_core(error: MessageError) -> Problem:
    status, detail, errors = STATUS[type(error)], str(error), FIELDS.get(type(error), ())
    match error:
        case Invalid():
            return Problem(status, detail, error.errors)
        case OverLimit():
            return Problem(
                status, detail, headers={"Retry-After": str(error.quota.reset), **quota_headers([error.quota])}
            )
        case StoreRefused():  # no Retry-After: time alone does not help
            return Problem(status, f"the database refuses: {detail}")
        case StoreUnavailable():
            detail = f"the database does not answer ({detail}): try again, with the same Idempotency-Key if you wrote"
            return Problem(status, detail, headers=BUSY)
        case Overloaded():
            return Problem(status, detail, headers=BUSY)
    return Problem(status, detail, errors)
