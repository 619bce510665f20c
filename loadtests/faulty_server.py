"""The service with a fault of known size, to test whether the measuring finds it.

`python -m loadtests.faulty_server --burn MICROSECONDS …` takes the flags of `python -m server` after its own. It is the
same service, but for what it does before it looks at a request: it wastes processor time, or blocks its event loop. Or
it makes JSON again and again, or lets requests take turns.
"""

import asyncio
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import httptools
import pydantic_core
from tornado.web import RequestHandler


class Delayed:
    """Passes on what a parser tells of requests. For each that is complete, `fault` is called first."""

    def __init__(self, reader: Any, fault: Callable[[], None]) -> None:
        self._reader, self._fault = reader, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def on_message_complete(self) -> None:
        self._fault()
        self._reader.on_message_complete()


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--burn", default=0.0, help="Microseconds of processor time to waste on each request.")
@click.option("--block", default=0.0, help="Microseconds for which each request blocks the event loop.")
@click.option("--json", default=1, help="How many times each answer is turned into JSON.")
@click.option("--turn", default=0.0, help="Microseconds for which a handler holds a lock that all handlers want.")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def command(burn: float, block: float, json: int, turn: float, flags: tuple[str, ...]) -> None:
    """Run the message service with a fault. FLAGS are its own."""

    def fault() -> None:
        waste_time(burn / 1e6)
        if block:
            time.sleep(block / 1e6)

    before_all_requests(fault)
    if json > 1:
        make_json_again(json)
    if turn:
        take_turns(turn / 1e6)
    sys.argv = ["server", *flags]
    runpy.run_module("server", run_name="__main__")


def before_all_requests(fault: Callable[[], None]) -> None:
    """Make every parser of requests that is created from now on call `fault` for each. All of them are read by one."""
    parser = httptools.HttpRequestParser
    setattr(httptools, "HttpRequestParser", lambda reader: parser(Delayed(reader, fault)))  # noqa: B010


def make_json_again(times: int) -> None:
    """Let pydantic's encoder, which the service uses, do its work `times` times."""
    encode = pydantic_core.to_json

    def to_json(*arguments: Any, **options: Any) -> bytes:
        for _ in range(times - 1):
            encode(*arguments, **options)
        return encode(*arguments, **options)

    setattr(pydantic_core, "to_json", to_json)  # noqa: B010


def take_turns(seconds: float) -> None:
    """Let each of Tornado's handlers wait for the one before it, and then for so long, without use of the processor."""
    lock, execute = asyncio.Lock(), RequestHandler._execute

    async def in_turn(self: RequestHandler, *arguments: Any, **options: Any) -> None:
        async with lock:
            await asyncio.sleep(seconds)
        await execute(self, *arguments, **options)

    setattr(RequestHandler, "_execute", in_turn)  # noqa: B010


def waste_time(seconds: float) -> None:
    """Use the processor for so long: a pause would cost the caller time, but no processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


if __name__ == "__main__":
    command()
