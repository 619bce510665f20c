"""The service on databases of every version: it starts, reads, writes, and tells what is pending."""

from pathlib import Path
from typing import Any

import pytest
import requests

from client import MessageClient
from harness import mongod
from loadtests import service
from migrations import runner
from migrations.runner import Database
from server.versions import EXPECTED


def readiness(url: str) -> dict[str, Any]:
    return dict(requests.get(f"{url}/readyz", timeout=10).json())


@pytest.mark.parametrize("version", range(EXPECTED + 1))
def test_it_starts_on_any_version_and_tells_what_is_pending(
    mongodb_uri: str, db: Database, tmp_path: Path, version: int
) -> None:
    db.messages.insert_one({"text": "of the first version"})
    if version:
        runner.up(db, str(version))
    with service.running(tmp_path / "log", mongodb_uri=mongodb_uri, database=db.name) as server:
        assert readiness(server.url) == {
            "status": "ready",
            "data_version": version,
            "pending_migrations": EXPECTED - version,
        }
        assert ("migrations are pending" in server.log.read_text()) == (version < EXPECTED)
        with MessageClient(server.url) as client:
            question = client.send("written by today's version", author="mia")
            client.reply(question.id, "and answered")
            assert {each.text for each in client.recent()} == {
                "of the first version",
                "written by today's version",
                "and answered",
            }
        runner.up(db)  # while it runs
        assert readiness(server.url)["pending_migrations"] == 0
        with MessageClient(server.url) as client:
            assert client.send("written under the validator").seq is not None
    assert not any(proof.offenders for proof in runner.verify(db))


def test_an_embedded_database_that_cannot_be_migrated_is_served_as_it_is(data_dir: Path, tmp_path: Path) -> None:
    with service.running(tmp_path / "log", data_dir=data_dir) as server:
        assert readiness(server.url)["pending_migrations"] == 0

    with mongod.running(data_dir) as uri:
        database = runner.connect(uri, "backend_lab")
        database.migrations.update_one({"_id": "0003_replies"}, {"$set": {"checksum": "of another text"}})
        database.client.close()
    with service.running(tmp_path / "log", data_dir=data_dir) as server, MessageClient(server.url) as client:
        client.send("all the same")
        assert "0003_replies was edited" in server.log.read_text()
