"""Parse the parts of a request: JSON, forms, query parameters and headers. Errors say how to correct them."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qs

from pydantic import BaseModel

from server.api.problems import BadRequest
from server.validation import validated

FORM = "application/x-www-form-urlencoded"
MAX_KEY = 255
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
SEEN_PATTERN = "^[0-9]{1,15}$"

Model = TypeVar("Model", bound=BaseModel)


def wrong_type(content_type: str, wanted: str = "application/json") -> BadRequest:
    """The error (415) for a body whose type is not `wanted`."""
    return BadRequest(
        f"the body's type is {content_type or 'not given'}: send Content-Type: {wanted}",
        status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )


def expect_type(content_type: str, wanted: str) -> None:
    """Raise `BadRequest` (415) if the body's type is not `wanted`."""
    if content_type.partition(";")[0].strip().lower() != wanted:
        raise wrong_type(content_type, wanted)


def body(content_type: str, content: bytes, model: type[Model]) -> Model:
    """Parse a JSON body and validate it as a `model`. Raises `BadRequest` and `Invalid`."""
    expect_type(content_type, "application/json")
    return validated(model, json_object(content), "the message")


def json_object(content: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object. Raises `BadRequest`."""
    try:
        document = _decoder.decode(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start} cannot be read") from error
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply: send one flat JSON object") from error
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadRequest('the body is not a JSON object: send one such as {"text": "hello"}')
    return document


def form(content: bytes) -> dict[str, list[str]]:
    """Parse a URL-encoded form: each field, blank ones included, with its values in order. Raises `BadRequest`."""
    try:
        return parse_qs(content.decode("utf-8"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequest("the form is not UTF-8: percent-encode it as UTF-8") from error


def idempotency_key(header: str | None) -> str | None:
    """Check the value of the header `Idempotency-Key`, None without one. Raises `BadRequest`."""
    if header is None:
        return None
    if not (0 < len(header) <= MAX_KEY and header.isascii() and header.isprintable()):
        raise BadRequest(
            f"Idempotency-Key is not 1 to {MAX_KEY} printable ASCII characters",
            (("Idempotency-Key", f"send 1 to {MAX_KEY} printable ASCII characters, a UUID for example"),),
        )
    return header


def seen(header: str | None) -> int:
    """Parse the value of the header `Lab-Seen`, 0 without one. Raises `BadRequest`."""
    if header is None:
        return 0
    if not re.fullmatch(SEEN_PATTERN, header):
        raise BadRequest(
            "Lab-Seen is not a number of this service",
            (("Lab-Seen", "send the number of an earlier response, or leave it out"),),
        )
    return int(header)


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether the value of the header `If-None-Match` contains `etag` or is `*`."""
    if if_none_match is None:
        return False
    known = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return etag in known or known == ["*"]


def query(arguments: Mapping[str, list[bytes]], model: type[Model]) -> Model:
    """Validate the query parameters as a `model`. Raises `BadRequest` and `Invalid`."""
    values: dict[str, str] = {}
    for name, given in arguments.items():
        if len(given) > 1:
            raise BadRequest(f"{name} is given {len(given)} times", ((name, "give it once"),))
        try:
            values[name] = given[0].decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadRequest(f"{name} is not UTF-8", ((name, "percent-encode it as UTF-8"),)) from error
    return validated(model, values, "the query")


def _object_with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("an object has the same key twice")
    if any(map(LONE_SURROGATE.search, result)):
        raise ValueError("a key contains a lone surrogate")
    return result


def _not_a_json_number(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


# `json.loads` would create a new decoder for each call.
_decoder = json.JSONDecoder(object_pairs_hook=_object_with_unique_keys, parse_constant=_not_a_json_number)
