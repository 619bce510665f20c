"""What is let in: rate limits."""

import math
import time

import limits
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from server.messages import OverLimit, Quota


class Admission:
    """Lets writes in, up to the rate `write_limit` (`500/second`, or `off`), counted in this process."""

    def __init__(self, write_limit: str) -> None:
        self._writes = None if write_limit == "off" else limits.parse(write_limit)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def admit_write(self) -> Quota | None:
        """Count one write; returns what is left, or None without a limit. Raises `OverLimit`."""
        if self._writes is None:
            return None
        admitted = await self._limiter.hit(self._writes, "writes")
        window = await self._limiter.get_window_stats(self._writes, "writes")
        quota = Quota(
            name="writes",
            amount=self._writes.amount,
            window=self._writes.get_expiry(),
            remaining=window.remaining,
            reset=max(1, math.ceil(window.reset_time - time.time())),
        )
        if not admitted:
            raise OverLimit(f"more than {self._writes} were sent: wait {quota.reset} s, then send again", quota)
        return quota
