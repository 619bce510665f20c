"""Requests for a Tornado application."""

import asyncio
from collections.abc import Awaitable

from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
)

from server.http1.answer import Answer
from server.http1.reading import Refused, Request


def pass_on(application: HTTPServerConnectionDelegate, request: Request, answer: Answer) -> None:
    """Have a Tornado application answer a request. Raises `Refused` if it does not take it for one."""
    delegate = application.start_request(None, answer)
    start_line = RequestStartLine(
        request.method.decode("ascii"), request.target.decode("latin-1"), f"HTTP/{request.version}"
    )
    headers = HTTPHeaders()
    try:
        for name, value in request.headers.items():
            headers.add(name.decode("ascii"), value.decode("latin-1").strip())
        ready = delegate.headers_received(start_line, headers)
    except (HTTPInputError, ValueError) as error:
        raise Refused(f"the request cannot be read: {error}") from error
    if ready is None:
        _give_body(delegate, request.body)
    else:  # a handler that takes its body in parts, when it is ready
        answer.giving_body = asyncio.ensure_future(_give_body_when(ready, delegate, request.body))


def _give_body(delegate: HTTPMessageDelegate, body: bytes) -> None:
    if body:
        delegate.data_received(body)
    delegate.finish()


async def _give_body_when(ready: Awaitable[None], delegate: HTTPMessageDelegate, body: bytes) -> None:
    await ready
    if body and (taken := delegate.data_received(body)) is not None:
        await taken
    delegate.finish()
