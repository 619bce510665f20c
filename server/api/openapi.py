"""Builds the OpenAPI 3.1 description at `/openapi.json` from the routes and their validation models."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server import __version__
from server.api.parsing import SEEN_PATTERN
from server.api.route import Operation, Route
from server.api.wire import ProblemModel
from server.messages import ID_PATTERN

REFERENCE = "#/components/schemas/{model}"
# The statuses of errors that every request may get.
ALWAYS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

HEADERS: dict[str, dict[str, Any]] = {
    "Lab-Seen": {
        "description": "The Lab-Seen of an earlier response: this response will include every message up to it.",
        "schema": {"type": "string", "pattern": SEEN_PATTERN},
    },
    "If-None-Match": {
        "description": "The ETag of an earlier response: 304 if the list is still the same.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "description": "Makes the request safe to repeat: the same key and body store one message.",
        "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
    },
    "X-Twilio-Signature": {
        "description": "Twilio's signature, as in its documentation on webhook security.",
        "schema": {"type": "string"},
    },
    "X-Slack-Signature": {
        "description": "Slack's signature, as in its documentation on verifying requests.",
        "schema": {"type": "string"},
    },
    "X-Slack-Request-Timestamp": {
        "description": "The time of Slack's signature in Unix seconds: at most five minutes ago.",
        "schema": {"type": "string"},
    },
}


def document(routes: Sequence[Route], *, with_keys: bool) -> dict[str, Any]:
    """The OpenAPI document that describes `routes`; `with_keys` if requests need an access key."""
    schemas = _schemas(routes)
    description: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Backend Lab: messages", "version": __version__},
        "paths": {route.path: _path(route) for route in routes if route.operations},
        "components": {"schemas": schemas},
    }
    if with_keys:
        description["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"key": []}]
        for route in routes:
            for operation in route.operations if route.handler.public else ():
                description["paths"][route.path][operation.method]["security"] = []
    return description


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    models: set[type[BaseModel]] = {ProblemModel}
    for operation in (each for route in routes for each in route.operations):
        models |= {model for model in (operation.answer, operation.body) if model is not None}
    _, definitions = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)], ref_template=REFERENCE
    )
    return dict(definitions["$defs"])


def _path(route: Route) -> dict[str, Any]:
    path: dict[str, Any] = {each.method: _operation(each) for each in route.operations}
    if "{id}" in route.path:
        id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": ID_PATTERN}}
        path["parameters"] = [id]
    return path


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": [*_query_parameters(operation.query), *_header_parameters(operation.headers)],
        "responses": {
            str(operation.status): {"description": operation.summary, "content": _content(operation)},
            **{str(int(status)): _problem(HTTPStatus(status)) for status in (*operation.errors, *ALWAYS)},
        },
    }
    if operation.body is not None:
        content = _model(operation.body, operation.body_type)
        if operation.example is not None:
            content[operation.body_type]["example"] = dict(operation.example)
        described["requestBody"] = {"required": True, "content": content}
    return described


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    schema = query.model_json_schema(ref_template=REFERENCE)
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(each)}
        for name, each in schema.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove `null` from the types of a query parameter: an optional parameter is absent, never null."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    return {name: value for name, value in options[0].items() if name not in ("title", "default")}


def _header_parameters(names: Iterable[str]) -> list[dict[str, Any]]:
    return [{"name": name, "in": "header", "required": False, **HEADERS[name]} for name in names]


def _content(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {operation.answer_type: {"schema": {"type": "string"}}}
    return _model(operation.answer, "application/json")


def _model(model: type[BaseModel], content_type: str) -> dict[str, Any]:
    return {content_type: {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}


def _problem(status: HTTPStatus) -> dict[str, Any]:
    if status == HTTPStatus.NOT_MODIFIED:
        return {"description": status.phrase}
    content = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model=ProblemModel.__name__)}}}
    return {"description": status.phrase, "content": content}
