"""What a request spends its time on. Phases grow while the request is being answered, and can be read meanwhile."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar

# DATABASE is the whole wait for MongoDB, of which POOL is the wait for a free connection, and IN_USE the use of one.
# QUEUE is the wait for the commit of others, before that.
QUEUE, DATABASE, POOL, IN_USE = "queue", "db", "pool", "connection"

_current: ContextVar["Phases"] = ContextVar("phases")


class Phases:
    """The phases of one request, or of work that several requests wait for. Threads of a driver may add to them too.

    A phase may have begun several times at once, and counts as often.
    """

    __slots__ = ("__weakref__", "_ended", "_open", "_waits_for", "began")

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self._ended: defaultdict[str, float] = defaultdict(float)  # seconds
        # When those that are open began. Which of them ends does not matter to their sum.
        self._open: defaultdict[str, list[float]] = defaultdict(list)
        self._waits_for: list[tuple[Phases, dict[str, float]]] = []  # and what that had spent when this began to

    def begin(self, name: str) -> None:
        """The phase `name` begins."""
        self._open[name].append(time.perf_counter())

    def end(self, name: str) -> None:
        """The phase `name` ends, which has begun."""
        self._ended[name] += time.perf_counter() - self._open[name].pop()

    def wait_for(self, work: "Phases", spent: dict[str, float]) -> None:
        """From now on this spends its time on what `work` spends its on: all of it, as all others who wait do.

        `spent` is what `work` has spent so far, computed once for all who wait.
        """
        self._waits_for.append((work, spent))

    def stop_waiting_for(self, work: "Phases", spent: dict[str, float]) -> None:
        """Keep what `work`, which has `spent` so much, spent meanwhile, and wait for it no more."""
        ended = next(each for each in self._waits_for if each[0] is work)
        self._waits_for.remove(ended)
        for name, seconds in _difference(spent, ended[1]).items():
            self._ended[name] += seconds

    def so_far(self) -> dict[str, float]:
        """Seconds by phase, those that have not ended included."""
        spent, now = dict(self._ended), time.perf_counter()
        for name, begins in self._open.copy().items():
            spent[name] = spent.get(name, 0.0) + sum(now - began for began in begins.copy())
        for work, before in self._waits_for:
            for name, seconds in _difference(work.so_far(), before).items():
                spent[name] = spent.get(name, 0.0) + seconds
        return spent


def _difference(spent: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {name: seconds - before.get(name, 0.0) for name, seconds in spent.items()}


def start() -> Phases:
    """Start timing what this task, and what it calls, does."""
    phases = Phases()
    _current.set(phases)
    return phases


def current() -> Phases | None:
    """The phases of what this task works for; None if nobody times it."""
    return _current.get(None)


def apart() -> tuple[Context, Phases]:
    """A context for work that several requests may wait for, and its phases: no request pays for it alone."""
    context = Context()
    return context, context.run(start)


@contextmanager
def waiting_for(work: Phases) -> Iterator[None]:
    """While the block runs, the current request, if there is one, waits for `work`."""
    request = current()
    if request is None:
        yield
        return
    request.wait_for(work, work.so_far())
    try:
        yield
    finally:
        request.stop_waiting_for(work, work.so_far())


class Phase:
    """A context manager: the block is the phase `name` of the current request, if there is one."""

    __slots__ = ("_name", "_phases")

    def __init__(self, name: str) -> None:
        self._name = name
        self._phases = current()

    def __enter__(self) -> None:
        if self._phases is not None:
            self._phases.begin(self._name)

    def __exit__(self, *_: object) -> None:
        if self._phases is not None:
            self._phases.end(self._name)
