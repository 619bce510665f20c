"""Locust's own FastHttpUser, doing what a test with it does: the measure for our users on raw sockets."""

from locust import FastHttpUser, constant, task


class Reader(FastHttpUser):
    """Reads the 20 newest messages again and again."""

    wait_time = constant(0)

    @task
    def read(self) -> None:
        self.client.get("/messages?limit=20", name="GET /messages")
