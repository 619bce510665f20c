"""Tornado's own tests of its HTTP server and its handlers, which come with the package, on our server.

What is different is listed, each with its reason; a difference that is gone has to be taken off the list.
"""

import contextlib
import functools
import logging
import socket
import unittest
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Self

import pytest
import tornado.testing
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop
from tornado.test import httpserver_test, web_test

from server.http1.answer import Answer
from server.http1.application import pass_on
from server.http1.reading import Request
from server.http1.server import Server
from tests.server.http1 import serving

LIMITS = "its limits and timeouts are one for all handlers, and no options of the server"
WHOLE = "bodies are small, and given to handlers when they are complete"
TRUSTED = "`X-Forwarded-For` is believed of --trusted-proxies only, and read there"
GZIP = "compressed bodies are not read"
DIFFERENT = {
    "BodyLimitsTest.test_body_size_override_reset": LIMITS,
    "BodyLimitsTest.test_large_body_buffered": LIMITS,
    "BodyLimitsTest.test_large_body_buffered_chunked": LIMITS,
    "BodyLimitsTest.test_large_body_streaming": LIMITS,
    "BodyLimitsTest.test_large_body_streaming_chunked": LIMITS,
    "BodyLimitsTest.test_large_body_streaming_chunked_override": LIMITS,
    "BodyLimitsTest.test_large_body_streaming_override": LIMITS,
    "BodyLimitsTest.test_timeout": LIMITS,
    "IdleTimeoutTest.test_idle_after_use": LIMITS,
    "IdleTimeoutTest.test_unused_connection": LIMITS,
    "MaxHeaderSizeTest.test_large_headers": LIMITS,
    "GzipTest.test_gzip": GZIP,
    "GzipTest.test_gzip_case_insensitive": GZIP,
    "GzipTest.test_gzip_concatenated": GZIP,
    "HTTPConnectionTest.test_newlines": "lines end with CR LF (RFC 9112, 2.2: others MAY be accepted)",
    "InvalidOutputContentLengthTest.test_invalid_output_content_length": "a bug is answered (500), and not hung up on",
    "KeepAliveTest.test_keepalive_chunked": "HTTP/1.0 has no chunks (RFC 9112, 6.1)",
    "LegacyInterfaceTest.test_legacy_interface": "applications are delegates, and no functions",
    "ManualProtocolTest.test_manual_protocol": "TLS is for a proxy in front",
    "XHeaderTest.test_ip_headers": TRUSTED,
    "XHeaderTest.test_scheme_headers": TRUSTED,
    "XHeaderTest.test_trusted_downstream": TRUSTED,
    "StreamingChunkSizeTest.test_chunked_body": WHOLE,
    "StreamingChunkSizeTest.test_chunked_compressed": WHOLE,
    "StreamingChunkSizeTest.test_compressed_body": WHOLE,
    "StreamingChunkSizeTest.test_regular_body": WHOLE,
    "CancellationTest.test_streaming_await_cancelled": WHOLE,
    "DecoratedStreamingRequestFlowControlTest.test_flow_control_chunked_body": WHOLE,
    "DecoratedStreamingRequestFlowControlTest.test_flow_control_compressed_body": WHOLE,
    "DecoratedStreamingRequestFlowControlTest.test_flow_control_fixed_body": WHOLE,
    "NativeStreamingRequestFlowControlTest.test_flow_control_chunked_body": WHOLE,
    "NativeStreamingRequestFlowControlTest.test_flow_control_compressed_body": WHOLE,
    "NativeStreamingRequestFlowControlTest.test_flow_control_fixed_body": WHOLE,
    "StreamingRequestBodyTest.test_close_during_upload": WHOLE,
    "StreamingRequestBodyTest.test_early_return": WHOLE,
    "StreamingRequestBodyTest.test_early_return_with_data": WHOLE,
    "StreamingRequestBodyTest.test_streaming_body": WHOLE,
    "ConnectionCloseTest.test_connection_close": "who half-closes is answered: only a lost connection is reported",
    "ClientCloseTest.test_client_close": "handlers have no stream that they could close",
}


class Quiet(contextlib.ContextDecorator):
    """In place of what expects Tornado's log lines: the answers count, and our server says other words."""

    def __init__(self, *_: object, **__: object) -> None:
        self._before = 0

    def __enter__(self) -> Self:
        self._before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        return self

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)


class AsTornados(Server):
    """Our server under the names by which Tornado's tests start and stop one."""

    def __init__(self, application: HTTPServerConnectionDelegate, **options: Any) -> None:
        super().__init__(functools.partial(_respond, application), serving.refuse)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        IOLoop.current().run_sync(functools.partial(self.listen_on, sockets))

    def stop(self) -> None:
        async def stop() -> None:
            super(AsTornados, self).stop()

        IOLoop.current().run_sync(stop)

    async def close_all_connections(self) -> None:
        await self.close()


def _respond(application: HTTPServerConnectionDelegate, request: Request, answer: Answer) -> None:
    pass_on(application, request, answer)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("module", [httpserver_test, web_test], ids=["httpserver_test", "web_test"])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_tornados_own_tests(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "tornado.access")
    monkeypatch.setattr(tornado.testing, "HTTPServer", AsTornados)
    monkeypatch.setattr(module, "ExpectLog", Quiet)
    chosen = unittest.TestSuite(
        case
        for suite in unittest.defaultTestLoader.loadTestsFromModule(module)
        for case in suite  # type: ignore[union-attr]
        if isinstance(case, tornado.testing.AsyncHTTPTestCase) and "SSL" not in type(case).__name__
    )
    result = unittest.TestResult()
    chosen.run(result)
    failed = {case.id().split(".", 3)[-1].split(" ")[0] for case, _ in [*result.failures, *result.errors]}
    assert failed == {name for name in DIFFERENT if hasattr(module, name.split(".")[0])}
