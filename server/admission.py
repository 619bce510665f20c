"""What is let in: rate limits, and no more waiting writes than can be waited for.

Refusing must cost next to nothing, or refusing is what the service dies of. So a limit is a list of
times: the ones in the last window, per caller. `limits` reads the rates, but its storages take a task
and a thread for most hits, which is more than answering would cost.
"""

import math
import time
from collections import deque
from collections.abc import Callable

import limits

from server.messages import OverLimit, Overloaded, Quota

FORGET_SECONDS = 60.0


class MovingWindow:
    """Lets `rate` (`500/second`) through in any window of its length, for each key by itself.

    A rate that `workers` processes share is divided among them.
    """

    def __init__(self, name: str, rate: str, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        limit = limits.parse(rate)
        self._name = name
        self._limit = limit
        self._amount = max(1, limit.amount // workers)
        self._seconds = limit.get_expiry()
        self._clock = clock
        self._admitted: dict[str, deque[float]] = {}
        self._forget_at = clock() + FORGET_SECONDS

    def admit(self, key: str) -> Quota:
        """Count one for `key`; returns what is left. Raises `OverLimit`, and then counts nothing."""
        now = self._clock()
        if now > self._forget_at:
            self._forget(now)
        times = self._admitted.setdefault(key, deque())
        while times and times[0] <= now - self._seconds:
            times.popleft()
        admitted = len(times) < self._amount
        if admitted:
            times.append(now)
        reset = max(1, math.ceil(times[0] + self._seconds - now))
        quota = Quota(self._name, self._amount, self._seconds, self._amount - len(times), reset)
        if not admitted:
            raise OverLimit(f"more than {self._limit} were sent: wait {reset} s, then send again", quota)
        return quota

    @property
    def callers(self) -> int:
        """How many are remembered."""
        return len(self._admitted)

    def _forget(self, now: float) -> None:
        """Drop the callers who have not been seen for a whole window."""
        self._forget_at = now + FORGET_SECONDS
        self._admitted = {key: times for key, times in self._admitted.items() if times[-1] > now - self._seconds}


class Admission:
    """Lets requests in, or says why not.

    `client_limit` counts all requests of a caller, `write_limit` the writes of all callers; both are `off`
    or a rate. `waiting` tells how many writes wait now, of whom there may be `max_waiting`.
    """

    def __init__(
        self, write_limit: str, client_limit: str, max_waiting: int, waiting: Callable[[], int], workers: int = 1
    ) -> None:
        self._writes = None if write_limit == "off" else MovingWindow("writes", write_limit, workers)
        self._clients = None if client_limit == "off" else MovingWindow("client", client_limit, workers)
        self._max_waiting = max_waiting
        self._waiting = waiting

    def admit(self, client: str, is_write: bool) -> tuple[Quota, ...]:
        """Count a request; returns what is left of each quota. Raises `OverLimit` and `Overloaded`."""
        # A caller's own limit comes first: what it refuses takes nothing from what all callers share.
        quotas = () if self._clients is None else (self._clients.admit(client),)
        if not is_write:
            return quotas
        if self._waiting() >= self._max_waiting:
            raise Overloaded(f"{self._max_waiting} writes are waiting already: try again in a moment")
        return quotas if self._writes is None else (*quotas, self._writes.admit(""))
