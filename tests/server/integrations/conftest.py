"""A service with both integrations enabled, and made-up secrets."""

from collections.abc import Callable, Iterator

import pytest

from client.slack import Channel, channel
from harness.servers import Server
from loadtests import service
from migrations.runner import Database

TOKEN = "a-token-of-nobody"
SECRET = "a-secret-of-nobody"
PUBLIC = "https://lab.example.com:8443/behind/a%20proxy"
ON = {
    "twilio_auth_token": TOKEN,
    "public_base_url": PUBLIC,
    "slack_signing_secret": SECRET,
    "slack_response_urls": "loopback",
}
Stored = Callable[[], int]


@pytest.fixture(scope="module")
def lab(mongodb_uri: str, shared_db: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module. Its log must contain no phone number, secret or traceback."""
    log = tmp_path_factory.mktemp("integrations") / "server.log"
    with service.running(log, mongodb_uri=mongodb_uri, database=shared_db.name, access_log="on", **ON) as server:
        yield server
    said = log.read_text()
    assert "5005550006" not in said
    assert TOKEN not in said
    assert SECRET not in said
    assert "Traceback" not in said


@pytest.fixture
def stored(shared_db: Database) -> Stored:
    """The number of messages that were stored since the fixture was set up."""
    before = shared_db.messages.count_documents({"void": None})
    return lambda: shared_db.messages.count_documents({"void": None}) - before


@pytest.fixture
def slack_channel() -> Iterator[Channel]:
    with channel() as open_channel:
        yield open_channel
