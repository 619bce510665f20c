"""A bridge from Slack's Socket Mode to the webhooks, for a service without a public URL.

Each request that arrives by the websocket is signed and posted to the service, as Slack would post it to a public URL.
Requests that the service does not accept are not acknowledged, so Slack retries them.
"""

import asyncio
import json
import logging
import time
from urllib.parse import urlencode

from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from server.integrations.paths import COMMANDS, EVENTS


async def bridge(url: str, signing_secret: str, app_token: str, api_url: str, stop: asyncio.Event) -> None:
    """Forward Slack's requests to the service at `url` until `stop`. Raises the connection errors of `slack_sdk`."""
    client = SocketModeClient(app_token, web_client=AsyncWebClient(base_url=f"{api_url}/"))

    async def forward(_: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        if await _deliver(url, signing_secret, request):
            await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))

    client.socket_mode_request_listeners.append(forward)
    try:
        await client.connect()  # type: ignore[no-untyped-call]
        print("connected to Slack", flush=True)
        await stop.wait()
    finally:
        await client.close()  # type: ignore[no-untyped-call]


async def _deliver(url: str, signing_secret: str, request: SocketModeRequest) -> bool:
    """Post a request of Slack to the service; return whether it was accepted."""
    if request.type == "slash_commands":
        path, kind, body = COMMANDS, "application/x-www-form-urlencoded", urlencode(request.payload)
    elif request.type == "events_api":
        path, kind, body = EVENTS, "application/json", json.dumps(request.payload)
    else:
        return True  # interactive components, which the app does not have
    timestamp = str(int(time.time()))
    signature = SignatureVerifier(signing_secret).generate_signature(timestamp=timestamp, body=body)
    headers = {"Content-Type": kind, "X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature or ""}
    try:
        await AsyncHTTPClient().fetch(HTTPRequest(url + path, "POST", headers, body, request_timeout=10.0))
    except Exception as error:
        logging.warning("the service did not accept a request of Slack: %s", error)
        return False
    return True
