"""The classes `Route` (path, handler) and `Operation` (one method, for the OpenAPI description)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from server.api import queries
from server.api.base import Handler


@dataclass(frozen=True)
class Operation:
    """One method of a route, for the OpenAPI description. `errors` are the statuses of its error responses.

    `answer` and `body` are the models of the response and of the request body, or None; `example` is such a body.
    """

    method: str
    summary: str
    answer: type[BaseModel] | None
    status: int = 200
    query: type[BaseModel] = queries.NoQuery
    body: type[BaseModel] | None = None
    body_type: str = "application/json"
    example: Mapping[str, Any] | None = None
    answer_type: str = "text/plain"  # of a response without a model
    headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Route:
    """A path, its handler, and its operations. `{id}` in the path matches the id of a message.

    `collaborators` are passed to the handler's `initialize`, in addition to the `Dependencies` of all handlers.
    """

    path: str
    handler: type[Handler]
    operations: tuple[Operation, ...] = field(default=())
    collaborators: Mapping[str, Any] = field(default_factory=dict)
