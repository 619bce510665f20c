"""A rate limit for writes."""

import threading
import time


class TokenBucket:
    """Admits `rate` requests a second, and after a pause as many as one second's at once. No rate: admits all.

    A request that is refused takes nothing, so a storm of them leaves the rate as it is for those who are admitted.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._tokens = rate or 0.0
        self._filled_at = time.monotonic()

    def seconds_to_wait(self) -> float:
        """Return 0 for a request that is admitted, else how many seconds to wait before the next try."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            if self._tokens < 1:
                return (1 - self._tokens) / self._rate
            self._tokens -= 1
            return 0.0
