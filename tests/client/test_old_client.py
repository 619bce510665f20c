"""A client of the first version still works against today's service."""

from client import MessageClient
from harness.servers import Server
from tests.client.old_client import OldClient, OldMessage


def test_an_old_client_sends_and_reads_as_ever(server: Server) -> None:
    old = OldClient(server.url)
    with MessageClient(server.url) as new:
        id = old.send("sent by the old one")
        new.reply(id, "answered by the new one", author="mia")
    assert old.recent(2) == [
        OldMessage("answered by the new one", "mia"), OldMessage("sent by the old one", "anonymous")
    ]  # fmt: skip
