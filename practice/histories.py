"""What concurrent clients of a message service saw, and a checker that finds what they should not have seen."""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Wrote:
    """A text, different from all others, that was posted at `begin` and acknowledged at `end`, in seconds.

    `end` is infinite for one that was never acknowledged. `number` is its place in the order of a server that numbers
    its messages without gaps; of others only this is known: what was acknowledged before another was posted is older.
    """

    text: str
    begin: float = -math.inf
    end: float = math.inf
    number: int | None = None

    def is_older(self, other: "Wrote") -> bool:
        """Whether this message has to stand behind `other` in a list."""
        if self.number is not None and other.number is not None:
            return self.number < other.number
        return self.end < other.begin


@dataclass(frozen=True)
class Read:
    """A list of at most `limit` texts was asked for at `begin`, and showed `shown`, newest first.

    `seen` is the number up to which its reader had been told of messages, if the server numbers them.
    """

    begin: float
    limit: int
    shown: tuple[str, ...]
    seen: int = 0


@dataclass(frozen=True)
class Violation:
    """One promise that was broken: which, about which text, and in which list; None if it is about no list."""

    kind: str
    text: str
    read: Read | None = None


def violations(
    writes: Iterable[Wrote],
    reads: Iterable[Read],
    stored: Collection[str],
    *,
    fresh_seconds: float = 0.0,
    from_before: Collection[str] = (),
) -> Iterator[Violation]:
    """What is wrong with a history. `stored` are the texts that the server has in the end.

    "lost": acknowledged, and not stored. "phantom": shown, and neither stored nor in `from_before`, the texts that were
    there before the history began. "double": twice in one list. "disorder": an older message before a newer one.
    "hole": a list that shows newer messages and leaves one out. "stale": a list that lacks a message that was
    acknowledged more than `fresh_seconds` before the list was asked for, and all newer ones. "own write": the same,
    because its reader had been told of it.
    """
    known = {each.text: each for each in writes}
    stored = frozenset(stored)
    for each in known.values():
        if each.end < math.inf and each.text not in stored:
            yield Violation("lost", each.text)
    kept = [each for each in known.values() if each.text in stored]
    before = frozenset(from_before)
    for read in reads:
        yield from _shown(read, known, stored, before)
        yield from _missing(read, known, kept, fresh_seconds)


def _shown(read: Read, known: dict[str, Wrote], stored: frozenset[str], before: frozenset[str]) -> Iterator[Violation]:
    """What is wrong with the messages that a list shows."""
    for text in read.shown:
        if text not in stored and text not in before:
            yield Violation("phantom", text, read)
        if text in known and read.shown.count(text) > 1:
            yield Violation("double", text, read)
    shown = [known[text] for text in read.shown if text in known]
    for above, below in itertools.combinations(shown, 2):
        if above.is_older(below):
            yield Violation("disorder", above.text, read)


def _missing(read: Read, known: dict[str, Wrote], kept: list[Wrote], fresh_seconds: float) -> Iterator[Violation]:
    """Which messages a list should show, and does not."""
    texts = frozenset(read.shown)
    shown = [known[text] for text in read.shown if text in known]
    oldest = min(shown, key=_earliest, default=None)
    is_full = len(read.shown) >= read.limit
    for each in kept:
        if each.text in texts or (is_full and not (oldest is not None and oldest.is_older(each))):
            continue  # shown, or there may be `limit` newer ones
        is_due = each.end + fresh_seconds < read.begin
        if (is_due or each.number is not None) and any(each.is_older(other) for other in shown):
            yield Violation("hole", each.text, read)
            continue
        if each.number is not None and each.number <= read.seen:
            yield Violation("own write", each.text, read)
        if is_due:
            yield Violation("stale", each.text, read)


def _earliest(wrote: Wrote) -> tuple[float, float]:
    """Sorts first whatever is older than the most others."""
    return (wrote.number if wrote.number is not None else 0, wrote.end)
