"""Locust's own FastHttpUser, doing what a test with it does: the measure for our users on raw sockets.

At the end it prints how many requests were answered, how many of them failed, and in how many seconds, as JSON.
"""

import json
from typing import Any

from locust import FastHttpUser, constant, events, task


class Reader(FastHttpUser):
    """Reads the 20 newest messages again and again."""

    wait_time = constant(0)

    @task
    def read(self) -> None:
        self.client.get("/messages?limit=20", name="GET /messages")


@events.quitting.add_listener
def _tell(environment: Any, **_: Any) -> None:
    total = environment.stats.total
    seconds = (total.last_request_timestamp or total.start_time) - total.start_time
    print(json.dumps({"requests": total.num_requests, "failed": total.num_failures, "seconds": seconds}))
