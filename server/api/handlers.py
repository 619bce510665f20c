"""The handlers: each reads a request, calls the service once and answers."""

from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from server import __version__
from server.api import parsing, wire
from server.api.base import Handler
from server.messages import DEFAULT_LIMIT, MAX_LIMIT, NewMessage


class RecentQuery(BaseModel):
    """The query parameters of `GET /messages`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class Hello(Handler):
    """`GET /`: a greeting. Each is remembered in the database before it is answered."""

    async def get(self) -> None:
        await self.service.visit()
        self.send(
            {
                "service": "backend-lab",
                "version": __version__,
                "greeting": "Hello! Post a message, or read the newest ones.",
                "links": {"messages": "/messages", "health": "/healthz", "ready": "/readyz", "metrics": "/metrics"},
            }
        )


class MessageList(Handler):
    """`GET /messages` and `POST /messages`."""

    async def get(self) -> None:
        query = parsing.query(self.request.query_arguments, RecentQuery)
        self.send(wire.messages(await self.service.recent(query.limit)))

    async def post(self) -> None:
        self.quota = await self.edge.admission.admit_write()
        new = parsing.body(self.request.headers.get("Content-Type", ""), self.request.body, NewMessage)
        message = await self.service.post(new)
        self.set_header("Location", f"/messages/{message.id}")
        self.send(wire.message(message), HTTPStatus.CREATED)


class Alive(Handler):
    """`GET /healthz`: this process runs."""

    async def get(self) -> None:
        self.send({"status": "alive"})


class Ready(Handler):
    """`GET /readyz`: this process can read and write messages now."""

    async def get(self) -> None:
        await self.service.check()
        self.send({"status": "ready"})


class MetricsText(Handler):
    """`GET /metrics`: for Prometheus."""

    async def get(self) -> None:
        self.set_header("Content-Type", self.edge.metrics.content_type)
        self.finish(self.edge.metrics.text())
