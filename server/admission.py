"""Admission control: rate limits, and a bound on the number of waiting writes.

A refusal must be cheap, or refusing is what overloads the service. So a limit is a list of the times at which
requests were admitted in the last window, for each caller. The library `limits` parses the rates; its storages start
a task and a thread for most hits, which costs more than answering.

A moving window alone admits whatever comes first. At five times the limit, a second's quota is used up in a fifth of
the second, expires all at once, and is used up at once again: admitted requests come in bursts and wait for each
other. So while there are refusals, requests are admitted evenly, at the interval that the rate allows (pacing).
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import limits

from server.messages import OverLimit, Overloaded, Quota

FORGET_SECONDS = 60.0
# A caller is paced for this share of a window after its last refusal.
PACED = 0.1
# A paced request may be this many intervals late without moving those after it.
CATCH_UP_INTERVALS = 4


@dataclass(slots=True)
class _Caller:
    """A caller's admission times in the last window; until when it is paced, and when it is admitted next if it is."""

    admitted: deque[float] = field(default_factory=deque)
    paced_until: float = -math.inf
    next_at: float = -math.inf


class MovingWindow:
    """A moving-window rate limiter: at most `rate` (such as `500/second`) in any window, for each key separately.

    With several `workers` each process admits its part of the rate.
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
        """Admit one request of `key` and return the quota that is left. Raises `OverLimit`; that counts nothing."""
        now = self._clock()
        if now > self._forget_at:
            self._forget(now)
        caller = self._callers.get(key)
        if caller is None:
            caller = self._callers[key] = _Caller()
        times = caller.admitted
        while times and times[0] <= now - self._seconds:
            times.popleft()
        # A caller with no request in the last window is not paced.
        admitted = not times or (len(times) < self._amount and now >= min(caller.paced_until, caller.next_at))
        if admitted:
            times.append(now)
            # A request that comes a little late does not delay the ones after it.
            caller.next_at = max(caller.next_at, now - CATCH_UP_INTERVALS * self._interval) + self._interval
        else:
            caller.paced_until = now + PACED * self._seconds
        again_at = times[0] + self._seconds
        if not admitted:  # whoever waits as told is let in, also by the pace
            again_at = max(again_at, min(caller.paced_until, caller.next_at))
        reset = max(1, math.ceil(again_at - now))
        quota = Quota(self._name, self._amount, self._seconds, self._amount - len(times) if admitted else 0, reset)
        if not admitted:
            raise OverLimit(f"more than {self._limit} were sent: wait {reset} s, then send again", quota)
        return quota

    @property
    def callers(self) -> int:
        """How many callers have an entry."""
        return len(self._callers)

    def _forget(self, now: float) -> None:
        """Drop the entries of callers that had no request for a whole window."""
        self._forget_at = now + FORGET_SECONDS
        self._callers = {key: each for key, each in self._callers.items() if each.admitted[-1] > now - self._seconds}


class Admission:
    """Admits requests, or raises why not.

    `client_limit` counts all requests of one caller, `write_limit` the writes of all callers; each is `off` or a rate.
    At most `max_waiting` writes may be waiting; `waiting` returns how many are now.
    """

    def __init__(
        self, write_limit: str, client_limit: str, max_waiting: int, waiting: Callable[[], int], workers: int = 1
    ) -> None:
        self._writes = None if write_limit == "off" else MovingWindow("writes", write_limit, workers)
        self._clients = None if client_limit == "off" else MovingWindow("client", client_limit, workers)
        self._max_waiting = max_waiting
        self._waiting = waiting

    def admit(self, client: str, is_write: bool) -> tuple[Quota, ...]:
        """Admit a request and return what is left of each quota. Raises `OverLimit` and `Overloaded`."""
        # The caller's own limit is checked first: a request that it refuses uses nothing of the shared limit.
        quotas = () if self._clients is None else (self._clients.admit(client),)
        if not is_write:
            return quotas
        self._check_waiting()
        return quotas if self._writes is None else (*quotas, self._writes.admit(""))

    def admit_webhook(self) -> None:
        """Admit a write that its author cannot send again, as of a text: no rate limit applies. Raises `Overloaded`."""
        self._check_waiting()

    def _check_waiting(self) -> None:
        if self._waiting() >= self._max_waiting:
            raise Overloaded(f"{self._max_waiting} writes are waiting already: try again in a moment")
