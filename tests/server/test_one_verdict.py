"""The fast path changes what a request costs, and nothing else: the same status for the same bytes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import service
from tests.server.http1 import mutations
from tests.server.http1.inputs import ACCEPTED, REFUSED

COUNT = 1000
SEED = 23


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, mongodb_uri: str) -> Iterator[dict[str, Any]]:
    """The service with the fast path and without it, each on a database of its own; gives their ports and logs."""
    folder = tmp_path_factory.mktemp("both")
    logs = {fast_path: folder / f"{fast_path}.log" for fast_path in ("on", "off")}
    with service.scratch_database("one") as (_, one), service.scratch_database("other") as (_, other):
        place: dict[str, Any] = {"mongodb_uri": mongodb_uri}
        with (
            service.running(logs["on"], fast_path="on", database=one, **place) as on,
            service.running(logs["off"], fast_path="off", database=other, **place) as off,
        ):
            yield {"on": (_port(on.url), logs["on"]), "off": (_port(off.url), logs["off"])}


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def verdicts(both: dict[str, Any], data: bytes) -> tuple[list[int], list[int]]:
    return mutations.statuses(both["on"][0], data), mutations.statuses(both["off"][0], data)


@pytest.mark.parametrize("name", [*ACCEPTED, *REFUSED])
def test_of_what_is_known(both: dict[str, Any], name: str) -> None:
    expected = REFUSED[name][0] if name in REFUSED else None
    on, off = verdicts(both, ACCEPTED[name] if name in ACCEPTED else REFUSED[name][1])
    assert on == off
    assert [status for status in on if status != 100] == [expected or on[-1]]


def test_of_what_a_seed_gives(both: dict[str, Any]) -> None:
    seen = set()
    for data in mutations.requests(SEED, COUNT):
        on, off = verdicts(both, data)
        assert on == off, data
        assert all(status < 500 for status in on), data
        seen.update(on)
    assert seen >= {200, 201, 304, 400, 404, 405, 413, 415, 417}
    for _, log in both.values():
        assert not re.search("Traceback|Uncaught", Path(log).read_text())
