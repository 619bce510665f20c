"""A replica set of three real mongods, of which any can fail."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pymongo import MongoClient

from harness.members import ReplicaSet, replica_set
from harness.proxies import Proxies
from tests.waiting import eventually


@pytest.fixture(scope="module")
def proxies() -> Iterator[Proxies]:
    with Proxies() as made:
        yield made


@pytest.fixture(scope="module")
def members(proxies: Proxies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    with replica_set(tmp_path_factory.mktemp("members"), proxies) as made:
        yield made


def test_what_a_majority_has_outlives_the_primary(members: ReplicaSet) -> None:
    with MongoClient(members.uri) as client:
        things = client.get_database("test", write_concern=None).things
        things.insert_one({"_id": 1})
        before = members.primary()
        before.kill()
        assert not before.is_running
        assert things.find_one({"_id": 1}) is not None
        assert members.primary() is not before
    members.wait_until_healthy()
    assert before.is_running


def test_a_primary_that_is_parted_from_the_others_is_replaced(members: ReplicaSet, proxies: Proxies) -> None:
    before = members.primary()
    others = members.secondaries()
    pairs = [pair for each in others for pair in ((before.name, each.name), (each.name, before.name))]
    with proxies.held(*pairs):
        eventually(lambda: any(each.state() == "primary" for each in others), seconds=60)
        eventually(lambda: before.state() != "primary", seconds=60)
    members.wait_until_healthy()


def test_a_primary_that_is_stopped_is_replaced(members: ReplicaSet) -> None:
    others = members.secondaries()
    with members.primary().stopped():
        eventually(lambda: any(each.state() == "primary" for each in others), seconds=60)
    members.wait_until_healthy()


def test_a_member_that_ends_while_the_others_are_awaited_is_started_too(
    members: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member, *_) = members.secondaries()

    def ends() -> str:
        monkeypatch.undo()
        member.kill()
        return "neither"

    monkeypatch.setattr(member, "state", ends)
    members.wait_until_healthy()
    assert member.is_running


def test_secondaries_that_fetch_nothing_are_behind(members: ReplicaSet) -> None:
    primary = members.primary()

    def is_committed() -> bool:
        """Whether a majority has what is written now, within half a second."""
        concern = {"w": "majority", "wtimeout": 500}
        return "writeConcernError" not in primary.command(
            "appendOplogNote", data={"from": "a test"}, writeConcern=concern
        )

    with ExitStack() as stack:
        for each in members.secondaries():
            stack.enter_context(each.failing("stopReplProducer"))
        eventually(lambda: not is_committed())
    members.wait_until_healthy()
    eventually(is_committed)
