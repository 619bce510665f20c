"""The service with a fault of known size, to test whether the measuring finds it.

`python -m loadtests.faulty_server --burn MICROSECONDS …` takes the flags of `python -m server` after its own. It is the
same service, but for the processor time that it wastes before it looks at a request.
"""

import runpy
import sys
import time
from typing import Any

import click
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerConnectionDelegate


class Burning(HTTPServerConnectionDelegate):
    """Passes every request on to `delegate`, after `seconds` of processor time."""

    def __init__(self, delegate: HTTPServerConnectionDelegate, seconds: float) -> None:
        self._delegate, self._seconds = delegate, seconds

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        waste_time(self._seconds)
        return self._delegate.start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        self._delegate.on_close(server_conn)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--burn", default=0.0, help="Microseconds of processor time to waste on each request.")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def command(burn: float, flags: tuple[str, ...]) -> None:
    """Run the message service, wasting some time on each request. FLAGS are its own."""
    burn_in_all_delegates(burn / 1e6)
    sys.argv = ["server", *flags]
    runpy.run_module("server", run_name="__main__")


def burn_in_all_delegates(seconds: float) -> None:
    """Make every `HTTPServer` that is created from now on waste `seconds` on each request.

    A server has a delegate for each way on which a request is answered, and every request passes exactly one of them:
    so all that it was created with are wrapped, whatever they are called.
    """
    created = HTTPServer.__init__

    def init(self: HTTPServer, *arguments: Any, **options: Any) -> None:
        created(self, *arguments, **options)
        for name, value in list(vars(self).items()):
            if isinstance(value, HTTPServerConnectionDelegate):
                setattr(self, name, Burning(value, seconds))

    setattr(HTTPServer, "__init__", init)  # noqa: B010  mypy takes the assignment for a mistake


def waste_time(seconds: float) -> None:
    """Use the processor for so long: a pause would cost the caller time, but no processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


if __name__ == "__main__":
    command()
