"""Wait for a condition instead of for a time."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def eventually(condition: Callable[[], Result], seconds: float = 20.0) -> Result:
    """Ask `condition` until what it returns is true, and return that. Fails after `seconds`.

    Assertion errors inside `condition` count as "not yet"; the last one is raised if time runs out.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := condition():
                return result
            failure = AssertionError(f"this did not become true within {seconds} s")
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        time.sleep(0.02)


async def until(condition: Callable[[], bool]) -> None:
    """Wait, while the event loop goes on, until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  it has no event to wait for
            await asyncio.sleep(0.01)
