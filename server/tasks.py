"""Work that goes on beside the requests."""

import asyncio
from typing import Any

AGAIN_SECONDS = 0.2


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel `tasks` until they have ended: PyMongo loses a cancellation now and then, while it reads an answer."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asked for, or its loss would be logged
