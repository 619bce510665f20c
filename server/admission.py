"""What is let in: rate limits, and no more waiting writes than can be waited for.

Refusing must cost next to nothing, or refusing is what the service dies of. So a limit is a list of
times: the ones in the last window, per caller. `limits` reads the rates, but its storages take a task
and a thread for most hits, which is more than answering would cost.

A window alone lets in what comes first. Under five times too much a second's worth comes in a fifth of the
second, all of it expires together, and the same happens again: whoever is let in is in a crowd. So while
there are refusals, the places that become free are given out evenly, at the pace of the rate.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import limits

from server.messages import OverLimit, Overloaded, Quota

FORGET_SECONDS = 60.0
# For this part of a window after its last refusal a caller is paced.
PACED = 0.1
SLACK = 4


@dataclass(slots=True)
class _Caller:
    """When a caller was let in, in the last window; until when it is paced, and when it may come next if it is."""

    admitted: deque[float] = field(default_factory=deque)
    paced_until: float = -math.inf
    next_at: float = -math.inf


class MovingWindow:
    """Lets `rate` (`500/second`) through in any window of its length, for each key by itself.

    A rate that `workers` processes share is divided among them.
    """

    def __init__(self, name: str, rate: str, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        limit = limits.parse(rate)
        self._name = name
        self._limit = str(limit)
        self._amount = max(1, limit.amount // workers)
        self._seconds = limit.get_expiry()
        self._interval = self._seconds / self._amount
        self._clock = clock
        self._callers: dict[str, _Caller] = {}
        self._forget_at = clock() + FORGET_SECONDS

    def admit(self, key: str) -> Quota:
        """Count one for `key`; returns what is left. Raises `OverLimit`, and then counts nothing."""
        now = self._clock()
        if now > self._forget_at:
            self._forget(now)
        caller = self._callers.get(key)
        if caller is None:
            caller = self._callers[key] = _Caller()
        times = caller.admitted
        while times and times[0] <= now - self._seconds:
            times.popleft()
        # Whoever was not there for a whole window owes no pace.
        admitted = not times or (len(times) < self._amount and now >= min(caller.paced_until, caller.next_at))
        if admitted:
            times.append(now)
            # What came a little late does not move the pace.
            caller.next_at = max(caller.next_at, now - SLACK * self._interval) + self._interval
        else:
            caller.paced_until = now + PACED * self._seconds
        reset = max(1, math.ceil(times[0] + self._seconds - now))
        quota = Quota(self._name, self._amount, self._seconds, self._amount - len(times) if admitted else 0, reset)
        if not admitted:
            raise OverLimit(f"more than {self._limit} were sent: wait {reset} s, then send again", quota)
        return quota

    @property
    def callers(self) -> int:
        """How many are remembered."""
        return len(self._callers)

    def _forget(self, now: float) -> None:
        """Drop the callers who have not been seen for a whole window."""
        self._forget_at = now + FORGET_SECONDS
        self._callers = {key: each for key, each in self._callers.items() if each.admitted[-1] > now - self._seconds}


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
