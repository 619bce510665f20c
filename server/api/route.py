"""What a route is made of: a path, its handler, and its operations for the OpenAPI description."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from server.api import queries
from server.api.base import Handler


@dataclass(frozen=True)
class Operation:
    """One method of a route, for the schema. `errors` are the statuses that its problems can have.

    `answer` and `body` are None where there is no JSON or form to describe.
    """

    method: str
    summary: str
    answer: type[BaseModel] | None
    status: int = 200
    query: type[BaseModel] = queries.NoQuery
    body: type[BaseModel] | None = None
    body_type: str = "application/json"
    answer_type: str = "text/plain"  # of an answer that no model describes
    headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Route:
    """A path, its handler, and its operations. `{id}` in the path stands for the id of a message.

    `collaborators` are passed to the handler's `initialize`, in addition to what every handler is given.
    """

    path: str
    handler: type[Handler]
    operations: tuple[Operation, ...] = field(default=())
    collaborators: Mapping[str, Any] = field(default_factory=dict)
