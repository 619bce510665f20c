"""What concurrent clients saw, and a checker that finds what they should not have seen."""

from collections.abc import Iterable
from dataclasses import dataclass

from server.recent import FRESH_SECONDS


@dataclass(frozen=True)
class Wrote:
    """A message was acknowledged at `end`, in seconds."""

    end: float
    seq: int
    text: str


@dataclass(frozen=True)
class Read:
    """A list was asked for at `begin` by who had met number `seen`; `shown` is (number, text), newest first."""

    begin: float
    seen: int
    limit: int
    shown: tuple[tuple[int, str], ...]


def violations(writes: Iterable[Wrote], reads: Iterable[Read], stored: dict[int, str]) -> set[str]:
    """The kinds of promise that were broken. `stored` is what the database holds in the end, by number.

    "lost": acknowledged, and not stored. "phantom": shown, and not stored. "disorder": a list that does not
    run from newer to older. "hole": a list that passes over a message between two that it shows, or ends
    early. "own write" and "stale": the newest message that had to be in the list is not, because its reader
    knew of it, or because it was acknowledged more than FRESH_SECONDS before.
    """
    writes = list(writes)
    broken = {"lost" for each in writes if stored.get(each.seq) != each.text}
    numbers = sorted(stored, reverse=True)
    for read in reads:
        shown = [seq for seq, _ in read.shown]
        newest = shown[0] if shown else 0
        broken |= {"phantom" for seq, text in read.shown if stored.get(seq) != text}
        if shown != sorted(set(shown), reverse=True):
            broken.add("disorder")
        if shown != [seq for seq in numbers if seq <= newest][: read.limit]:
            broken.add("hole")
        if newest < max((seq for seq in numbers if seq <= read.seen), default=0):
            broken.add("own write")
        if newest < max((each.seq for each in writes if each.end + FRESH_SECONDS < read.begin), default=0):
            broken.add("stale")
    return broken
