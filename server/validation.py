"""Validate what a caller gave with a pydantic model, and say in words how to correct it. Knows no HTTP."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from server.messages import Invalid

Model = TypeVar("Model", bound=BaseModel)

# What to do, by the type of pydantic's error. For other types pydantic's own message is adapted.
CURES = {
    "extra_forbidden": "is not known here: leave it out",
    "missing": "is required: add it",
    "string_pattern_mismatch": "is not an id: write its 24 hex digits",
    "string_unicode": "holds half of a surrogate pair: send whole characters",
}


def validated(model: type[Model], values: dict[str, Any], what: str) -> Model:
    """Make a `model` of `values`; the error names `what` they are, such as "the message". Raises `Invalid`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = tuple((_field(each["loc"]), _cure(each["type"], each["msg"])) for each in error.errors())
        detail = "; ".join(f"{field}: {cure}" for field, cure in errors)
        raise Invalid(f"{what} is not valid: {detail}", errors) from error


def _field(location: tuple[int | str, ...]) -> str:
    # A name that the caller made up may hold a lone surrogate, which no answer could carry.
    return ".".join(map(str, location)).encode("utf-8", "replace").decode()


def _cure(kind: str, message: str) -> str:
    adapted = message.removeprefix("Value error, ").replace("Input should", "should").replace("String should", "should")
    return CURES.get(kind, adapted)
