"""Histories of servers that do not number their messages: only what is certain is called wrong."""

import pytest

from practice.histories import Read, Wrote, violations

OLD, MIDDLE, NEW = Wrote("old", 0, 1), Wrote("middle", 2, 3), Wrote("new", 4, 5)
ALSO_NEW = Wrote("also new", 4, 5)
UNKNOWN = Wrote("unknown", 4)  # never acknowledged
ALL = [OLD, MIDDLE, NEW, ALSO_NEW, UNKNOWN]
STORED = {each.text for each in ALL}


@pytest.mark.parametrize(
    ("read", "found"),
    [
        pytest.param(Read(9, 2, ("new", "also new")), set(), id="at the same time, in either order"),
        pytest.param(Read(9, 2, ("also new", "new")), set(), id="or the other"),
        pytest.param(
            Read(9, 5, ("unknown", "new", "also new", "middle", "old")), set(), id="never acknowledged, shown"
        ),
        pytest.param(Read(9, 5, ("new", "also new", "middle", "old")), set(), id="or not"),
        pytest.param(Read(4.5, 5, ("middle", "old")), set(), id="not acknowledged yet"),
        pytest.param(Read(5.4, 5, ("middle", "old")), set(), id="not older than promised"),
        pytest.param(Read(5.6, 5, ("middle", "old")), {"stale"}, id="older"),
        pytest.param(Read(9, 5, ("new", "also new", "old")), {"hole"}, id="one is left out"),
        pytest.param(Read(9, 2, ("new", "middle")), {"stale"}, id="no room for an older one"),
        pytest.param(Read(9, 5, ("new", "also new", "new", "middle", "old")), {"double"}, id="twice"),
        pytest.param(Read(9, 5, ("middle", "new", "also new", "old")), {"disorder"}, id="older before newer"),
        pytest.param(Read(9, 1, ("nobody wrote this",)), {"phantom"}, id="never written"),
        pytest.param(Read(0, 1, ("from before",)), set(), id="there before it began"),
    ],
)
def test_a_list_is_judged(read: Read, found: set[str]) -> None:
    seen = violations(ALL, [read], STORED, fresh_seconds=0.5, from_before={"from before"})
    assert {each.kind for each in seen} == found


def test_what_was_acknowledged_must_be_stored() -> None:
    (lost,) = violations(ALL, [], STORED - {"old", "unknown"})
    assert (lost.kind, lost.text) == ("lost", "old")
