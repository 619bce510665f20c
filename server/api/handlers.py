"""The request handlers: each parses a request, calls the service, and sends the response."""

from http import HTTPStatus
from typing import Any

from server import __version__, versions
from server.api import parsing, wire
from server.api.base import Handler
from server.api.exchange import Dependencies, Exchange
from server.api.queries import ListQuery, NoQuery, RepliesQuery
from server.messages import Message, MessageService, NewMessage, Page
from server.telemetry import Metrics


class Hello(Handler):
    """`GET /`: a greeting. Every request is stored as a visit before it is answered."""

    async def get(self) -> None:
        self.query(NoQuery)
        visits = await self.service.visit()
        self.send(
            {
                "service": "backend-lab",
                "version": __version__,
                "greeting": "Hello! Post a message, or read the newest ones.",
                "visits": visits,
                "links": {
                    "messages": "/messages",
                    "docs": "/docs",
                    "openapi": "/openapi.json",
                    "health": "/healthz",
                    "ready": "/readyz",
                    "metrics": "/metrics",
                },
            }
        )


class MessageList(Handler):
    """`GET /messages` and `POST /messages`."""

    async def get(self) -> None:
        self.send_versioned(await self._page(self.query(ListQuery)))

    async def _page(self, query: ListQuery) -> Page:
        limit, seen = query.limit, self.seen()
        if query.after is not None:
            return await self.service.after(query.after, limit, seen, query.since, query.cursor)
        if query.since is not None:
            return await self.service.since(query.since, limit, seen, query.cursor)
        if query.cursor is not None:
            return await self.service.older(query.cursor, limit, seen)
        return await self.service.recent(limit, seen)

    async def post(self) -> None:
        self.query(NoQuery)
        content_type, key = self.request.headers.get("Content-Type", ""), self.request.headers.get("Idempotency-Key")
        message, headers = await post_message(self.service, self.exchange, content_type, key, self.request.body)
        for name, value in headers.items():
            self.set_header(name, value)
        self.send(wire.message(message), HTTPStatus.CREATED)


async def post_message(
    service: MessageService, exchange: Exchange, content_type: str, idempotency_key: str | None, body: bytes
) -> tuple[Message, dict[str, str]]:
    """Store the message in a request's body; return it, and the headers of the response that concern it.

    Raises `BadRequest`, and the errors of `MessageService.post`.
    """
    key = parsing.idempotency_key(idempotency_key)
    new = parsing.body(content_type, body, NewMessage)
    dedupe = None if key is None else f"key:{exchange.caller}:{key}"
    message, replayed = await service.post(new, "api", dedupe)
    exchange.stored = message.seq or 0
    return message, {"Location": f"/messages/{message.id}"} | ({"Idempotency-Replayed": "true"} if replayed else {})


class OneMessage(Handler):
    """`GET /messages/{id}`."""

    async def get(self, id: str) -> None:
        self.query(NoQuery)
        message = await self.service.get(id)
        self.send(wire.thread(message, await self.service.replies(id, seen=self.seen())))


class Replies(Handler):
    """`GET /messages/{id}/replies`."""

    async def get(self, id: str) -> None:
        query, seen = self.query(RepliesQuery), self.seen()
        await self.service.get(id)
        self.send(wire.replies(await self.service.replies(id, query.cursor, query.limit, seen)))


class Alive(Handler):
    """`GET /healthz`: liveness of this process."""

    public = True

    async def get(self) -> None:
        self.send({"status": "alive"})


class Ready(Handler):
    """`GET /readyz`: readiness, that is, whether this process can read and write messages."""

    public = True

    async def get(self) -> None:
        applied = await self.service.check()
        self.send({"status": "ready", "data_version": applied, "pending_migrations": versions.pending(applied)})


class MetricsText(Handler):
    """`GET /metrics`: the metrics in the format of Prometheus."""

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route)
        self.metrics: Metrics = collaborators["metrics"]

    async def get(self) -> None:
        self.set_header("Content-Type", self.metrics.content_type)
        self.finish(self.metrics.text())


class OpenApi(Handler):
    """`GET /openapi.json`: the OpenAPI description of this service."""

    public = True

    def initialize(self, dependencies: Dependencies, route: str, **collaborators: Any) -> None:
        super().initialize(dependencies, route)
        self.description: dict[str, Any] = collaborators["description"]

    async def get(self) -> None:
        self.send(self.description)
