"""The order of messages as a state machine: writers that are slow or die, and readers, in every order of events.

Hypothesis decides who takes the next step. Reads run in an event loop of which a step is one turn, and whose time is
the test's. What is checked is what the service promises to those who read: see the invariants of each read.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule

from server.messages import Message, MessageService, Page, Position
from server.timeline import GAP_SECONDS, Timeline
from server.writer import Single
from tests.server.clock import Clock
from tests.server.memory import BEGIN, Memory, message, unnumbered

LIMITS = st.integers(1, 4)
WORKERS = st.integers(0, 1)
OLD = -24 * 3600  # the time of the messages that have no number


class Loop(asyncio.SelectorEventLoop):
    """An event loop that turns when it is told to, and whose time is a test's."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def time(self) -> float:
        return self._clock.time

    def turn(self) -> None:
        """Run what is ready now."""
        self.call_soon(self.stop)
        self.run_forever()


@dataclass
class Follower:
    """Reads `after` again and again. `numbers` are those it was shown, from the one after which it began."""

    cursor: int
    numbers: list[int] = field(default_factory=list)
    busy: bool = False


class Order(RuleBasedStateMachine):
    """One database, two workers with a timeline each, writers, and readers of all lists."""

    slow: Bundle[int] = Bundle("slow")  # numbers that are given out, and not stored yet

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.memory = Memory()
        self.acknowledged: list[int] = []
        self.followers = [Follower(0), Follower(0)]
        self.reads: set[asyncio.Task[None]] = set()

        self.timelines = [Timeline(self.memory, self.clock) for _ in range(2)]
        self.services = [MessageService(self.memory, each, each, Single(self.memory)) for each in self.timelines]

    @initialize(count=st.integers(0, 3))
    def begin(self, count: int) -> None:
        """Some messages are older than the numbering."""
        self.memory.old = unnumbered(count)

    def teardown(self) -> None:
        """Everybody comes to an end, and then every follower has seen every message once and in order."""
        try:
            self._finish()
            self._give_up_what_is_missing()
            stored = [each.seq for each in self._entries(1, max(self.memory.entries, default=0))[::-1]]
            for follower in self.followers:
                while len(follower.numbers) < len(stored):
                    before = len(follower.numbers)
                    self._follow(follower, 0, 3)
                    self._finish()
                    assert len(follower.numbers) > before, "a follower misses messages that are stored"
                assert follower.numbers == stored
            assert set(self.acknowledged) <= set(stored)
        finally:
            for read in self.reads:
                read.cancel()
            self.loop.turn()
            self.loop.close()

    def _give_up_what_is_missing(self) -> None:
        """No writer is left: one gap after the other is found, and made void when it has been there for long enough."""
        last = max(self.memory.entries, default=0)
        for _ in range(last + 1):
            for service in self.services:
                self._start(lambda page: None, service.recent, 1)
            self._finish()
            self.clock.time += GAP_SECONDS
        assert set(self.memory.entries) == set(range(1, last + 1))

    # Writers.

    @rule(target=slow)
    def take_a_number(self) -> int:
        return self.memory.next_number()

    @rule(seq=consumes(slow), told=st.none() | WORKERS)
    def store(self, seq: int, told: int | None) -> None:
        """A writer stores its message, or takes another number if its own is void; its worker is told then."""
        while not self.memory.store(stored := message(seq, seconds=seq // 3)):
            seq = self.memory.next_number()
        self.acknowledged.append(seq)
        if told is not None:
            self.timelines[told].note_stored(stored)

    @rule(seq=consumes(slow))
    def die(self, seq: int) -> None:
        """A writer dies before it has stored its message."""

    # Time.

    @rule(count=st.integers(1, 4))
    def turn(self, count: int) -> None:
        for _ in range(count):
            self.loop.turn()

    @rule(seconds=st.sampled_from([0.01, GAP_SECONDS / 2, GAP_SECONDS]))
    def wait(self, seconds: float) -> None:
        self.clock.time += seconds
        self.loop.turn()

    @rule()
    def finish(self) -> None:
        """Every read comes to its end."""
        self._finish()

    # Readers. What they have to be shown is decided when they begin to read, and checked when they have.

    @rule(worker=WORKERS, limit=LIMITS, knows=st.booleans())
    def read_the_newest(self, worker: int, limit: int, knows: bool) -> None:
        seen = max(self.acknowledged, default=0) if knows else 0

        def check(page: Page) -> None:
            assert page.up_to >= seen
            self._is_complete_below(page, page.up_to, 1, limit)

        self._start(check, self.services[worker].recent, limit, seen)

    @rule(worker=WORKERS, limit=LIMITS)
    def page_through_everything(self, worker: int, limit: int) -> None:
        service = self.services[worker]

        async def walk() -> tuple[int, list[Message]]:
            page = await service.recent(limit)
            newest, found = page.up_to, page.messages
            while page.next is not None:
                page = await service.older(page.next, limit)
                found = found + page.messages
            return newest, found

        def check(walked: tuple[int, list[Message]]) -> None:
            newest, found = walked
            assert found == [*self._entries(1, newest), *self.memory.old]

        self._start(check, walk)

    @rule(worker=WORKERS, limit=LIMITS, seconds=st.integers(0, 5) | st.just(OLD))
    def list_since(self, worker: int, limit: int, seconds: int) -> None:
        since = BEGIN + timedelta(seconds=seconds)

        def check(page: Page) -> None:
            found = self._entries(1, page.up_to)
            wanted = [each for each in [*found, *self.memory.old] if each.created_at >= since]
            assert page.messages == wanted[:limit]
            assert (page.next is None) == (len(wanted) <= limit)

        self._start(check, self.services[worker].since, since, limit)

    @rule(worker=WORKERS, limit=LIMITS, place=st.integers(1, 20))
    def list_below(self, worker: int, limit: int, place: int) -> None:
        def check(page: Page) -> None:
            self._is_complete_below(page, min(place - 1, page.up_to), 1, limit)

        self._start(check, self.services[worker].older, Position(before=place), limit)

    @rule(worker=WORKERS, limit=LIMITS, follower=st.integers(0, 1))
    def follow(self, worker: int, limit: int, follower: int) -> None:
        if not self.followers[follower].busy:
            self._follow(self.followers[follower], worker, limit)

    @rule(worker=WORKERS, limit=LIMITS, seq=st.integers(0, 12), place=st.integers(1, 14), seconds=st.integers(0, 5))
    def list_between(self, worker: int, limit: int, seq: int, place: int, seconds: int) -> None:
        since = BEGIN + timedelta(seconds=seconds)

        def check(page: Page) -> None:
            found = [each for each in self._entries(seq + 1, place - 1)[::-1] if each.created_at >= since]
            shown = [each for each in found if each in page.messages]
            assert page.messages == shown[:limit] == found[: len(shown)]

        below = Position(before=place)
        self._start(check, self.services[worker].after, seq, limit, since=since, below=below)

    # How.

    def _follow(self, follower: Follower, worker: int, limit: int) -> None:
        follower.busy = True
        began = follower.cursor

        def check(page: Page) -> None:
            follower.busy = False
            assert page.up_to >= began
            assert len(page.messages) <= limit
            assert page.messages == self._entries(began + 1, page.up_to)[::-1]  # all, none twice, and in order
            follower.numbers += [each.seq or 0 for each in page.messages]
            follower.cursor = page.up_to

        self._start(check, self.services[worker].after, began, limit)

    def _start(self, check: Callable[[Any], None], read: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Begin a read, whose result `check` is given."""

        async def run() -> None:
            check(await read(*arguments, **named))

        self.reads.add(self.loop.create_task(run()))

    def _finish(self) -> None:
        for _ in range(5000):
            for read in [each for each in self.reads if each.done()]:
                self.reads.discard(read)
                read.result()
            if not self.reads:
                return
            self.loop.turn()
            self.clock.time += 0.001
        raise AssertionError("a read does not come to its end")

    def _entries(self, first: int, last: int) -> list[Message]:
        """The messages with these numbers, newest first, none of which may be missing: all others are void."""
        found = [self.memory.entries.get(seq) for seq in range(last, first - 1, -1)]
        return [each for each in found if isinstance(each, Message)]

    def _is_complete_below(self, page: Page, newest: int, lowest: int, limit: int) -> None:
        """`page` shows what there is from number `newest` down, and no number below it is missing."""
        assert all(seq in self.memory.entries for seq in range(lowest, page.up_to + 1)), "shown above a gap"
        there = [*self._entries(lowest, newest), *self.memory.old]
        assert page.messages == there[:limit]
        assert (page.next is None) == (len(there) <= limit)


TestOrder = Order.TestCase
TestOrder.settings = settings(max_examples=100, stateful_step_count=40)
