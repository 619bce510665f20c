"""The service with a fault of known size, to see whether an experiment finds it.

`python -m loadtests.faulty_server --burn MICROSECONDS …` takes the flags of `python -m server` after its
own, and is the same service, but for the processor time it wastes before it looks at a request.
"""

import runpy
import sys
import time
from typing import Any

import click
from tornado.httpserver import HTTPServer


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--burn", default=0.0, help="Microseconds of processor time to waste on each request.")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def command(burn: float, flags: tuple[str, ...]) -> None:
    """Run the message service, wasting some time on each request. FLAGS are its own."""
    # Every request passes here, whichever way the service then goes about it.
    start_request = HTTPServer.start_request

    def start_request_late(*arguments: Any) -> Any:
        waste_time(burn / 1e6)
        return start_request(*arguments)

    setattr(HTTPServer, "start_request", start_request_late)  # noqa: B010  mypy takes the assignment for a mistake
    sys.argv = ["server", *flags]
    runpy.run_module("server", run_name="__main__")


def waste_time(seconds: float) -> None:
    """Use the processor for so long: a pause would cost the caller time, but no processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


if __name__ == "__main__":
    command()
