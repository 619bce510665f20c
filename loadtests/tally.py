"""Successful requests of one kind, collected and entered in Locust's statistics and in our log many at a time.

One by one, that costs twice as much as sending the request over a raw socket.
"""

import time
from collections import Counter
from typing import Any

from harness import clock
from loadtests.request_log import OK, RequestLog, quoted


class Tally:
    """Collects the requests `method` `name`. Times are on the clock `time.perf_counter`."""

    def __init__(self, method: str, name: str) -> None:
        self._method, self._name = method, name
        # Due, sent, answered, size and status of each.
        self._rows: list[tuple[float, float, float, int, int]] = []
        self.add = self._rows.append

    def enter(self, stats: Any, log: RequestLog) -> None:
        """Enter what was collected in `stats` (Locust's RequestStats) and in `log`."""
        rows = self._rows.copy()
        self._rows.clear()
        if not rows:
            return
        times = [(answered - sent) * 1000 for _, sent, answered, _, _ in rows]
        size = sum(row[3] for row in rows)
        for entry in (stats.total, stats.get(self._name, self._method)):
            _log_many(entry, times, size)
        end, name, offset = f",{OK}\n", quoted(self._name), clock.OFFSET
        log.add_requests(
            f"{offset + due:.6f},{offset + sent:.6f},{name},{milliseconds:.3f},{status}{end}"
            for (due, sent, _, _, status), milliseconds in zip(rows, times, strict=True)
        )


def _log_many(entry: Any, times: list[float], size: int) -> None:
    """What `StatsEntry.log` of Locust does for one response time, for many at once."""
    now = time.time()
    if entry.use_response_times_cache and entry.last_request_timestamp and int(now) > int(entry.last_request_timestamp):
        entry._cache_response_times(int(now) - 1)
    entry.num_requests += len(times)
    entry.num_reqs_per_sec[int(now)] += len(times)
    entry.last_request_timestamp = now
    entry.total_response_time += sum(times)
    entry.min_response_time = min(times) if entry.min_response_time is None else min(entry.min_response_time, *times)
    entry.max_response_time = max(entry.max_response_time, *times)
    entry.total_content_length += size
    for milliseconds, count in Counter([round(each, 1) for each in times]).items():
        entry.response_times[milliseconds] += count
