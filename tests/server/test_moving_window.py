"""The moving window, on generated arrivals: what it lets through, and what it says is left, against a simple model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from server.admission import CATCH_UP_INTERVALS, FORGET_SECONDS, PACED, MovingWindow
from server.messages import OverLimit, Quota
from tests.server.clock import Clock

TICKS = 16  # a second: sums of their sixteenths are exact
AMOUNTS = st.sampled_from([1, 2, 3, 8])
SECONDS = st.sampled_from([1, 2, 60])
# Gaps between arrivals in ticks: none, a little of a window, or much of one and more.
GAPS = st.lists(st.one_of(st.just(0), st.integers(0, 4), st.integers(0, 80 * TICKS)), max_size=60)


@dataclass(frozen=True)
class Arrival:
    """Somebody came at `time`, was `admitted` or not, and was told `quota`."""

    time: float
    admitted: bool
    quota: Quota


def window(amount: int, seconds: int, clock: Clock) -> MovingWindow:
    return MovingWindow("writes", f"{amount}/{seconds} second", clock=clock)


def admit(limit: MovingWindow, clock: Clock, key: str = "") -> Arrival:
    try:
        return Arrival(clock.time, True, limit.admit(key))
    except OverLimit as error:
        return Arrival(clock.time, False, error.quota)


def arrivals(amount: int, seconds: int, gaps: Sequence[int]) -> Iterator[tuple[list[Arrival], Arrival]]:
    """Each arrival at a window of so many, with those before it."""
    clock, before = Clock(), list[Arrival]()
    limit = window(amount, seconds, clock)
    for gap in gaps:
        clock.time += gap / TICKS
        arrival = admit(limit, clock)
        yield before, arrival
        before.append(arrival)


@given(AMOUNTS, SECONDS, GAPS)
@example(2, 1, [0, 0, 0, 15, 0, 1, 0, 0])
def test_no_window_lets_more_through_and_remaining_says_how_many_are_left(
    amount: int, seconds: int, gaps: list[int]
) -> None:
    for before, arrival in arrivals(amount, seconds, gaps):
        counted = sum(each.admitted and each.time > arrival.time - seconds for each in before) + arrival.admitted
        assert counted <= amount  # the refused ones do not count
        assert arrival.quota.remaining == (amount - counted if arrival.admitted else 0)
        assert (arrival.quota.amount, arrival.quota.window) == (amount, seconds)


@given(AMOUNTS, SECONDS, GAPS)
def test_who_was_not_refused_lately_is_refused_only_when_the_window_is_full(
    amount: int, seconds: int, gaps: list[int]
) -> None:
    for before, arrival in arrivals(amount, seconds, gaps):
        counted = sum(each.admitted and each.time > arrival.time - seconds for each in before)
        lately = any(not each.admitted and arrival.time < each.time + PACED * seconds for each in before)
        if counted == 0 or not lately:
            assert arrival.admitted == (counted < amount)


@given(AMOUNTS, SECONDS, st.lists(st.integers(0, 4), max_size=200))
def test_under_too_much_those_let_in_keep_the_pace_of_the_rate(amount: int, seconds: int, gaps: list[int]) -> None:
    paced: list[float] = []  # since when there were refusals all the time
    for before, arrival in arrivals(amount, seconds, gaps):
        lately = any(not each.admitted and arrival.time < each.time + PACED * seconds for each in before)
        in_window = any(each.admitted and each.time > arrival.time - seconds for each in before)
        if not (lately and in_window):
            paced = []
        elif arrival.admitted:
            paced.append(arrival.time)
            assert len(paced) <= (arrival.time - paced[0]) / (seconds / amount) + CATCH_UP_INTERVALS + 1


@given(AMOUNTS, SECONDS, GAPS)
@example(8, 60, [0, 0, 0, 55 * TICKS, *([0] * 6)])  # the pace of a burst that was caught up with ends after the window
def test_who_waits_as_told_is_let_in(amount: int, seconds: int, gaps: list[int]) -> None:
    clock = Clock()
    limit = window(amount, seconds, clock)
    for gap in gaps:
        clock.time += gap / TICKS
        arrival = admit(limit, clock)
        assert 1 <= arrival.quota.reset <= seconds
        if not arrival.admitted:
            clock.time += arrival.quota.reset
            assert admit(limit, clock).admitted


@given(AMOUNTS, SECONDS, st.lists(st.tuples(GAPS.map(lambda gaps: sum(gaps[:1])), st.sampled_from("abc")), max_size=60))
def test_each_caller_is_treated_as_if_it_were_alone(amount: int, seconds: int, steps: list[tuple[int, str]]) -> None:
    clock = Clock()
    shared, alone = window(amount, seconds, clock), {key: window(amount, seconds, clock) for key in "abc"}
    last: dict[str, float] = {}
    for gap, key in steps:
        clock.time += gap / TICKS
        arrival = admit(shared, clock, key)
        assert arrival == admit(alone[key], clock, key)
        if arrival.admitted:
            last[key] = clock.time
        # Whoever was let in during the last window is remembered, and nobody who has not been for long.
        assert sum(each > clock.time - seconds for each in last.values()) <= shared.callers
        assert shared.callers <= sum(each > clock.time - seconds - 2 * FORGET_SECONDS for each in last.values())


def test_callers_are_forgotten_at_intervals() -> None:
    clock = Clock()
    limit = window(2, 1, clock)
    # Nobody is forgotten in between, and then whoever came no later than a window ago.
    begin = FORGET_SECONDS
    for time, callers in [(0.0, 1), (begin, 2), (begin + 1, 1), (begin + FORGET_SECONDS, 2)]:
        clock.time = time
        admit(limit, clock, f"at {time}")
        assert limit.callers == callers


def test_after_a_refusal_a_caller_may_be_a_few_intervals_late_and_no_more() -> None:
    clock = Clock()
    limit = window(8, 2, clock)
    assert [admit(limit, clock).admitted for _ in range(7)] == [True] * 7
    clock.time = 1.0
    assert admit(limit, clock).admitted
    clock.time = 1.9
    assert not admit(limit, clock).admitted
    clock.time = 2.0  # seven places are free again; the last admission was due at 1.0, a second or four intervals ago
    assert [admit(limit, clock).admitted for _ in range(7)] == [True] * (CATCH_UP_INTERVALS + 1) + [False] * 2
