"""What every error answer of the service has in common."""

from http import HTTPStatus
from typing import Any

import requests


def assert_problem(answer: requests.Response, status: int, *fields: str) -> dict[str, Any]:
    """Check that `answer` is a problem+json (RFC 9457) that blames `fields`; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Server-Timing"]
    said = answer.json()
    assert said["title"] == HTTPStatus(status).phrase
    assert said["status"] == status
    assert said["detail"]
    assert [error["field"] for error in said.get("errors", [])] == list(fields)
    assert all(error["message"] for error in said.get("errors", []))
    return said
