"""Three real mongods become a replica set, and go on without one of them."""

from pathlib import Path
from typing import Any

from pymongo import MongoClient, WriteConcern
from pymongo.errors import AutoReconnect

from harness.three_members import three_members
from tests.processes import is_running, kill
from tests.waiting import eventually


def test_when_the_primary_is_killed_another_is_elected_and_nothing_is_lost(tmp_path: Path) -> None:
    with three_members(tmp_path) as running:
        assert len(running.members) == 3
        first = running.primary()
        with MongoClient[dict[str, Any]](running.uri) as client:
            notes = client.test.get_collection("notes", write_concern=WriteConcern("majority"))
            notes.insert_one({"text": "kept"})
            kill(first.process)
            eventually(lambda: running.primary() != first)

            def found() -> dict[str, Any] | None:
                try:
                    return notes.find_one({"text": "kept"})
                except AutoReconnect as error:
                    raise AssertionError from error

            assert eventually(found)
    assert not any(is_running(each.process) for each in running.members)
