"""A ping of MongoDB: without the driver's own work, and with the driver where there is no other way."""

import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import MongoClient, monitoring
from pymongo.errors import PyMongoError

from profiles.diagnosis.mongodb_watch import Pinger

CLOSES_AT_ONCE = "127.0.0.1", 0


class Commands(monitoring.CommandListener):
    """Counts the pings that the driver sends."""

    def __init__(self) -> None:
        self.pings = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.pings += event.command_name == "ping"

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


def test_it_is_answered_without_the_driver(mongodb_uri: str) -> None:
    commands = Commands()
    with MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[commands]) as client, Pinger(client) as pinger:
        assert all(0.0 < pinger.ms() < 5000.0 for _ in range(3))
        assert commands.pings == 0


def test_one_that_hangs_up_is_pinged_by_the_driver(mongodb_uri: str) -> None:
    """As one does that expects TLS."""
    commands = Commands()
    with (
        socket.create_server(CLOSES_AT_ONCE) as listening,
        MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[commands]) as client,
    ):

        def hang_up() -> None:
            listening.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        elsewhere: Any = SimpleNamespace(address=listening.getsockname(), admin=client.admin)
        with Pinger(elsewhere) as pinger:
            hanging_up.join()
            assert pinger.ms() > 0.0
    assert commands.pings == 2  # the first one, and this


def test_one_that_is_away_raises_the_drivers_error() -> None:
    with socket.create_server(CLOSES_AT_ONCE) as listening:
        port = listening.getsockname()[1]
    away = MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}", serverSelectionTimeoutMS=50)
    with away, Pinger(away) as pinger, pytest.raises(PyMongoError):
        pinger.ms()
