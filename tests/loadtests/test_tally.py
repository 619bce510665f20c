"""Requests that are entered many at a time: Locust's statistics are as if they had been entered one by one."""

import subprocess
import sys

# In a process of its own: importing Locust changes the interpreter.
COMPARE = """
from locust import stats as locust_stats
from loadtests.request_log import RequestLog
from loadtests.tally import Tally

locust_stats.bucket_response_time = lambda milliseconds: round(milliseconds, 1)
rows = [(1.0, 1.0 + n / 1000, 1.0 + n / 1000 + (n * 37 % 100) / 1000, n, 200) for n in range(1, 500)]
one_by_one, together = locust_stats.RequestStats(), locust_stats.RequestStats()
log, tally = RequestLog(), Tally("GET", "a, b")
for row in rows:
    one_by_one.log_request("GET", "a, b", (row[2] - row[1]) * 1000, row[3])
    tally.add(row)
tally.enter(together, log)
tally.enter(together, log)
for mine, theirs in ((together.total, one_by_one.total), (together.get("a, b", "GET"), one_by_one.get("a, b", "GET"))):
    assert dict(mine.response_times) == dict(theirs.response_times)
    for name in ("num_requests", "num_failures", "min_response_time", "max_response_time", "total_content_length"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert abs(mine.total_response_time - theirs.total_response_time) < 1e-6
    assert sum(mine.num_reqs_per_sec.values()) == 499
    assert mine.get_response_time_percentile(0.95) == theirs.get_response_time_percentile(0.95)
lines = log.take()["requests"].splitlines()
assert len(lines) == 499
assert lines[0].endswith(',"a, b",37.000,200,ok'), lines[0]
"""


def test_locusts_statistics_are_those_of_one_by_one() -> None:
    ended = subprocess.run([sys.executable, "-c", COMPARE], check=False, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
