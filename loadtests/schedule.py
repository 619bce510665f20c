"""When requests are due: at a constant rate, for all users of a Locust process together."""

import itertools
import time
from dataclasses import dataclass


@dataclass
class Schedule:
    """Due times at `rate` requests/s of which this process takes every `step`-th, beginning with number `first`.

    Whoever is free takes the next due time. If the service is slow and nobody is free, requests are sent late; none is
    left out, and the delay is part of the latency. A rate of 0 has no due times: a request is due when it is sent.
    All times are on the clock `time.perf_counter`.
    """

    rate: float
    first: int = 0
    step: int = 1

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.taken = 0

    def due(self, number: int) -> float:
        """When the request `number` of this process is due."""
        return self.began + (self.first + number * self.step) / self.rate

    def take(self) -> float:
        """Take the next due time; now, without a rate."""
        if not self.rate:
            return time.perf_counter()
        self.taken += 1
        return self.due(self.taken - 1)

    def never_taken(self, until: float) -> list[float]:
        """The due times up to `until` that nobody took, because no user was free."""
        if not self.rate:
            return []
        return list(itertools.takewhile(lambda due: due <= until, map(self.due, itertools.count(self.taken))))
