"""Checkers of a history: each finds one kind of broken promise in what clients saw while parts of a service failed."""

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from practice import histories
from practice.histories import Read, Wrote
from practice.outages.history import ACKNOWLEDGED, Asked, Fault, Followed, History, Post, Walked

SERVER_ERROR = "500"
# What is under way when a process is killed is unanswered, and so is what is sent until its connections are closed.
KILLED_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """One broken promise: which, when it was seen, and what was seen."""

    kind: str
    at: float
    text: str


class Columns:
    """Posts in the order of their numbers, as arrays: a list that was followed to its end is compared with all."""

    def __init__(self, posts: list[Post]) -> None:
        self.posts = posts
        self._places = {each.text: place for place, each in enumerate(posts)}
        self._numbers = np.array([each.seq for each in posts], dtype=np.int64)
        self._ended = np.array([each.ended for each in posts], dtype=np.float64)
        self._at = np.array([each.at for each in posts], dtype=np.str_)

    def missing(self, walked: Walked, ended_before: float) -> list[Post]:
        """What was acknowledged before that moment, is one of those that `walked` asked for, and is not shown by it."""
        begin = int(np.searchsorted(self._numbers, walked.down_to, "right")) if walked.down_to else 0
        end = int(np.searchsorted(self._numbers, walked.below)) if walked.below else len(self.posts)
        is_missing = self._ended[begin:end] < ended_before
        if walked.since:
            is_missing &= self._at[begin:end] >= walked.since
        places = (self._places.get(text, -1) for text in walked.shown)
        is_missing[[place - begin for place in places if begin <= place < end]] = False
        return [self.posts[begin + int(place)] for place in np.flatnonzero(is_missing)]


class Facts:
    """A history, and what follows from it that several checkers need."""

    def __init__(self, history: History, fresh_seconds: float) -> None:
        self.history, self.fresh_seconds = history, fresh_seconds
        self.acknowledged = history.acknowledged()

    @cached_property
    def end(self) -> float:
        """When the last request was answered."""
        return max((each.ended for each in self.history.post), default=0.0)

    @cached_property
    def stored(self) -> list[tuple[str, int, str]]:
        """What the database has in the end."""
        return self.history.stored[-1].messages if self.history.stored else []

    @cached_property
    def stored_texts(self) -> frozenset[str]:
        """The texts of that."""
        return frozenset(text for text, _, _ in self.stored)

    @cached_property
    def writes(self) -> list[Wrote]:
        """All that is stored or was acknowledged, by number, with the times of its first post and acknowledgement."""
        begun: dict[str, float] = {}
        for each in self.history.post:
            begun.setdefault(each.text, each.began)
        numbers = {text: seq for text, seq, _ in self.stored}
        found = [
            Wrote(text, begun.get(text, -math.inf), self._acknowledged_at(text), number)
            for text, number in ({text: each.seq for text, each in self.acknowledged.items()} | numbers).items()
        ]
        return sorted(found, key=lambda each: each.number or 0)

    @cached_property
    def by_time(self) -> list[Post]:
        """The first acknowledgements, by the time of the message and its number."""
        return sorted(self.acknowledged.values(), key=lambda each: (each.at, each.seq))

    @cached_property
    def by_number(self) -> "Columns":
        """The first acknowledgements of what is stored, by the number of the message."""
        posts = (each for text, each in self.acknowledged.items() if text in self.stored_texts)
        return Columns(sorted(posts, key=lambda each: each.seq))

    @cached_property
    def _by_acknowledgement(self) -> tuple[list[float], list[int]]:
        """When messages were acknowledged, ascending, and the highest number of all that were by then."""
        ordered = sorted(self.acknowledged.values(), key=lambda each: each.ended)
        return [each.ended for each in ordered], list(itertools.accumulate((each.seq for each in ordered), max))

    def highest_before(self, moment: float) -> int:
        """The highest number that was acknowledged before `moment`, 0 if none was."""
        times, highest = self._by_acknowledgement
        count = bisect.bisect_left(times, moment)
        return highest[count - 1] if count else 0

    def first_since(self, time: str, before: float) -> int | None:
        """The lowest number of a message of that time or later that was acknowledged before the moment `before`.

        As times do not fall while numbers grow, which `disorder` checks, it is the first of these by time.
        """
        begin = bisect.bisect_left(self.by_time, time, key=lambda each: each.at)
        following = (self.by_time[place] for place in range(begin, len(self.by_time)))
        return next((each.seq for each in following if each.ended < before), None)

    def _acknowledged_at(self, text: str) -> float:
        return self.acknowledged[text].ended if text in self.acknowledged else math.inf


def lost(facts: Facts) -> Iterator[Finding]:
    """Acknowledged, and not stored in the end."""
    for text, each in facts.acknowledged.items():
        if text not in facts.stored_texts:
            yield Finding("lost", each.ended, f"{text!r} was acknowledged as number {each.seq}, and is not stored")


def doubled(facts: Facts) -> Iterator[Finding]:
    """Stored twice, or acknowledged with two numbers, or shown twice in one list."""
    for text, count in Counter(text for text, _, _ in facts.stored).items():
        if count > 1:
            yield Finding("doubled", _when(facts, text), f"{text!r} is stored {count} times")
    for each in facts.history.post:
        first = facts.acknowledged.get(each.text)
        if first is not None and each.outcome == ACKNOWLEDGED and each.seq != first.seq:
            yield Finding("doubled", each.ended, f"{each.text!r} was acknowledged as {first.seq} and as {each.seq}")
    for walked in facts.history.walked:
        for text, count in Counter(walked.shown).items():
            if count > 1:
                yield Finding("doubled", walked.ended, f"{text!r} is {count} times in one list of {walked.service}")


def hidden(facts: Facts) -> Iterator[Finding]:
    """Acknowledged and stored, and not in a list that was asked for afterwards, and followed to its end."""
    for walked in facts.history.walked:
        if walked.outcome == ACKNOWLEDGED:
            since = f"since {walked.since}" if walked.since else "of all"
            for each in facts.by_number.missing(walked, walked.began - facts.fresh_seconds):
                yield Finding(
                    "hidden",
                    walked.ended,
                    f"{each.text!r}, number {each.seq} of {each.at}, is in no list {since} of {walked.service}",
                )


def disorder(facts: Facts) -> Iterator[Finding]:
    """Times that fall as numbers grow, a number given twice, or an answer with another number or time than stored."""
    for (first, number, time), (second, next_number, next_time) in itertools.pairwise(facts.stored):
        if number >= next_number:
            yield Finding("disorder", _when(facts, second), f"{first!r} and {second!r} have number {number}")
        if time > next_time:
            yield Finding(
                "disorder",
                _when(facts, second),
                f"number {number} ({first!r}) is of {time}, and number {next_number} ({second!r}) of {next_time}",
            )
    for text, number, time in facts.stored:
        said = facts.acknowledged.get(text)
        if said is not None and (said.seq, said.at) != (number, time):
            yield Finding(
                "disorder", said.ended, f"{text!r} is {number} of {time}, and was said to be {said.seq} of {said.at}"
            )


def followers(facts: Facts) -> Iterator[Finding]:
    """A follower that missed a message, got one twice, or got them in another order."""
    numbers = {each.text: each.number or 0 for each in facts.writes}
    by_who: dict[str, list[Followed]] = {}
    for each in facts.history.followed:
        by_who.setdefault(each.who, []).append(each)
    for who, steps in by_who.items():
        begins = max((numbers.get(text, 0) for text in steps[0].shown), default=0)
        got = [(text, each.ended) for each in steps[1:] for text in each.shown]
        times = dict(reversed(got))
        for text, count in Counter(text for text, _ in got).items():
            if count > 1:
                yield Finding("followers", times[text], f"{who} got {text!r} {count} times")
        for (before, _), (text, at) in itertools.pairwise(got):
            if numbers.get(before, 0) > numbers.get(text, 0):
                yield Finding("followers", at, f"{who} got {text!r} after {before!r}, which is newer")
        for text, post in facts.acknowledged.items():
            is_due = post.seq > begins and post.ended < steps[-1].began - facts.fresh_seconds
            if is_due and text not in times:
                yield Finding("followers", post.ended, f"{who} never got {text!r}, number {post.seq}")


def stale(facts: Facts) -> Iterator[Finding]:
    """A list that lacks what it had to show, or shows what is not there: see `practice.histories.violations`."""
    numbers = [each.number or 0 for each in facts.writes]
    number_of = {each.text: each.number or 0 for each in facts.writes}
    for each in facts.history.listed:
        if each.outcome != ACKNOWLEDGED:
            continue
        shown = [number_of.get(text, 0) for text in each.shown]
        # Only what stands between the oldest that it shows and the newest that it has to show can be missing.
        is_full = len(shown) >= each.limit
        begins: float = min(shown, default=0)
        if each.since and not is_full:
            first = facts.first_since(each.since, each.began)
            begins = math.inf if first is None else first
        ends = max([each.seen, facts.highest_before(each.began - facts.fresh_seconds), *shown])
        window = facts.writes[bisect.bisect_left(numbers, begins) : bisect.bisect_right(numbers, ends)]
        if each.shown == [wrote.text for wrote in reversed(window)] and facts.stored_texts.issuperset(each.shown):
            continue  # all of it, in order: the rest compares each with each
        read = Read(each.began, each.limit, tuple(each.shown), each.seen)
        for found in histories.violations(window, [read], facts.stored_texts, fresh_seconds=facts.fresh_seconds):
            if found.read is not None:
                since = f" since {each.since}" if each.since else ""
                yield Finding(
                    "stale",
                    each.ended,
                    f"{found.kind}: {found.text!r}, in a list{since} of {each.service} for {each.who}",
                )


def cut(facts: Facts) -> Iterator[Finding]:
    """An answer that ended too early, or a request without one, although its service was not killed."""
    for each in facts.history.asked():
        if each.outcome in {"cut", "silent"} and not _was_killed(facts.history.fault, each.service, each.ended):
            what = "an answer was cut off" if each.outcome == "cut" else "a request got no answer"
            yield Finding("cut", each.ended, f"{what}: {each.who} at {each.service}, {_named(each)}")


def errors(facts: Facts) -> Iterator[Finding]:
    """Answers with status 500."""
    for each in facts.history.asked():
        if each.outcome == SERVER_ERROR:
            yield Finding("500s", each.ended, f"{each.who} got a 500 from {each.service}, {_named(each)}")


def tracebacks(facts: Facts) -> Iterator[Finding]:
    """Tracebacks in the services' logs."""
    yield from (Finding("tracebacks", each.at, each.text) for each in facts.history.noted if each.kind == "traceback")


def hands(facts: Facts) -> Iterator[Finding]:
    """What did not come back by itself."""
    yield from (Finding("hands", each.at, each.text) for each in facts.history.noted if each.kind == "hand")


# By the kind that each finds.
CHECKERS: dict[str, Callable[[Facts], Iterable[Finding]]] = {
    "lost": lost,
    "doubled": doubled,
    "hidden": hidden,
    "disorder": disorder,
    "followers": followers,
    "stale": stale,
    "cut": cut,
    "500s": errors,
    "tracebacks": tracebacks,
    "hands": hands,
}


def findings(history: History, fresh_seconds: float) -> list[Finding]:
    """All that is wrong with a history, by time. A list may be `fresh_seconds` old."""
    facts = Facts(history, fresh_seconds)
    return sorted((each for check in CHECKERS.values() for each in check(facts)), key=lambda each: each.at)


def gaps(history: History) -> list[tuple[float, float]]:
    """The times between two acknowledged writes, in order, each as its beginning and its end."""
    return list(itertools.pairwise(sorted(each.ended for each in history.post if each.outcome == ACKNOWLEDGED)))


def longest_gap(history: History, began: float = -math.inf, ended: float = math.inf) -> float:
    """The longest time, in seconds, without an acknowledged write, that lies at least in part between the two times."""
    return max((b - a for a, b in gaps(history) if b > began and a < ended), default=0.0)


def _was_killed(faults: Iterable[Fault], service: str, at: float) -> bool:
    return any(service in each.killed and each.began <= at <= each.healed + KILLED_SECONDS for each in faults)


def _when(facts: Facts, text: str) -> float:
    return facts.acknowledged[text].ended if text in facts.acknowledged else facts.end


def _named(each: Asked) -> str:
    return f"the post of {each.text!r}" if isinstance(each, Post) else f"a list ({type(each).__name__.lower()})"
