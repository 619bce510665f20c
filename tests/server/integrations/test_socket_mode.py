"""Socket Mode: a websocket server in place of Slack, and a real service behind the bridge."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import requests
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from harness.servers import Server
from server.integrations.slack.socket_mode import bridge
from tests.server.integrations.conftest import SECRET


class Slack:
    """A server in place of Slack: it gives out the websocket's URL, and records acknowledgements."""

    def __init__(self) -> None:
        self.connected: asyncio.Queue[WebSocketHandler] = asyncio.Queue()
        self.acknowledged: asyncio.Queue[str] = asyncio.Queue()
        sock, port = bind_unused_port()
        routes = [(r"/api/apps\.connections\.open", Open, {"port": port}), ("/link", Link, {"slack": self})]
        self.server = HTTPServer(Application(routes))
        self.server.add_sockets([sock])
        self.api = f"http://127.0.0.1:{port}/api"


class Open(RequestHandler):
    def initialize(self, port: int) -> None:
        self.port = port

    def post(self) -> None:
        self.write({"ok": True, "url": f"ws://127.0.0.1:{self.port}/link"})


class Link(WebSocketHandler):
    def initialize(self, slack: Slack) -> None:
        self.slack = slack

    def open(self, *args: str, **kwargs: str) -> None:
        self.slack.connected.put_nowait(self)

    def on_message(self, message: str | bytes) -> None:
        self.slack.acknowledged.put_nowait(json.loads(message)["envelope_id"])


async def run(
    server: Server, test: Callable[[Slack, Callable[[str, dict[str, Any]], Awaitable[str]]], Awaitable[None]]
) -> None:
    slack, stop = Slack(), asyncio.Event()
    bridging = asyncio.create_task(bridge(server.url, SECRET, "xapp-nobody", slack.api, stop))
    try:
        async with asyncio.timeout(30):
            link = await slack.connected.get()

            async def send(kind: str, payload: dict[str, Any]) -> str:
                envelope = {"type": kind, "envelope_id": f"{kind}-1", "payload": payload}
                await link.write_message(json.dumps(envelope))
                return await slack.acknowledged.get()

            await test(slack, send)
    finally:
        stop.set()
        await bridging
        slack.server.stop()
        await slack.server.close_all_connections()


@pytest.mark.asyncio
async def test_requests_by_the_websocket_are_stored_and_acknowledged(lab: Server) -> None:
    async def test(slack: Slack, send: Callable[[str, dict[str, Any]], Awaitable[str]]) -> None:
        command = {"command": "/msg", "text": "send by socket", "user_id": "U1", "user_name": "mia", "trigger_id": "s1"}
        assert await send("slash_commands", command) == "slash_commands-1"
        event = {"type": "app_mention", "user": "U2", "text": "<@UBOT> mentioned by socket"}
        outer = {"type": "event_callback", "event_id": "EvSocket", "event": event}
        assert await send("events_api", outer) == "events_api-1"
        answer = await asyncio.to_thread(requests.get, f"{lab.url}/messages", {"limit": 2})
        found = [(each["author"], each["text"], each["source"]) for each in answer.json()["messages"]]
        assert found == [("U2", "mentioned by socket", "slack"), ("mia", "by socket", "slack")]

    await run(lab, test)
