"""Test a verdict before it is given: change one thing, measure again in turns, and say whether the verdict stood.

Each verdict has one change in the table below, and what it should do if the verdict is right. Where the server may not
be started anew, only the load is changed.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from loadtests.intervals import Ratio, paired_ratio
from loadtests.run import Load
from loadtests.targets import Running
from profiles.diagnosis import rules
from profiles.diagnosis.evidence import Evidence
from profiles.diagnosis.observe import look
from profiles.diagnosis.rules import Test, at_least, below
from profiles.diagnosis.verdict import Verdict

PAIRS = 3
SECONDS, WARMUP = 1.5, 0.5
MANY_CONNECTIONS = 50


class Changeable(Protocol):
    """A service that may be started anew with some settings changed."""

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def straight(self) -> str | None: ...

    def running(self, **changes: Any) -> Any: ...


@dataclass(frozen=True)
class Change:
    """What is changed, in words, and what is expected of the ratio of a signal, after ÷ before."""

    changed: str
    expected: Test


HALF, CONNECTIONS, STRAIGHT, CACHE, CORES = (
    "half the load", "more connections", "the straight way to MongoDB", "a cache for reads", "all cores for Locust",
)  # fmt: skip
QUICKER_WITHOUT = below("mean_ms", 0.6, "reads that do not ask MongoDB are quicker")
SATURATED = at_least("answered_per_s", 0.7, "half as many users get nearly as many answers: something is at its limit")
SLOW_BY_ITSELF = at_least("took_ms", 0.35, "an operation takes as long with half the load: it does not wait for others")
# The change for each verdict. Of several the first that can be made is.
CHANGES: Mapping[str, tuple[Change, ...]] = {
    rules.SERVER_CPU: (Change(HALF, SATURATED),),
    rules.LOOP_BLOCKED: (Change(HALF, SATURATED),),
    rules.SLOTS: (Change(HALF, SATURATED),),
    rules.DATABASE_CPU: (Change(CACHE, QUICKER_WITHOUT), Change(HALF, SATURATED)),
    rules.MACHINE_FULL: (
        Change(HALF, at_least("machine_busy", 0.9, "with half the load the machine is as full: others fill it")),
    ),
    rules.DISK: (Change(HALF, at_least("sync_ms", 0.5, "a write to the disk takes as long with half the load")),),
    rules.QUERIES: (Change(CACHE, QUICKER_WITHOUT), Change(HALF, SLOW_BY_ITSELF)),
    rules.NETWORK: (
        Change(
            STRAIGHT,
            below("use_ms", 0.5, "without the way an operation is much shorter"),
        ),
        Change(HALF, at_least("ping_ms", 0.5, "a ping takes as long with half the load")),
    ),
    rules.POOL: (
        Change(CONNECTIONS, below("mean_ms", 0.8, "with more connections requests are quicker")),
        Change(HALF, SATURATED),
    ),
    rules.RATE_LIMIT: (
        Change(HALF, at_least("answered_per_s", 0.85, "half the load gets as many answers: a limit decides")),
    ),
    rules.LOAD_GENERATOR: (
        Change(CORES, below("generator_late", 0.5, "with all cores Locust is not late")),
        Change(HALF, at_least("generator_late", 0.5, "Locust is as late with half the load")),
    ),
    rules.HEALTHY: (Change(HALF, at_least("mean_ms", 0.5, "with half the load requests take as long: none waits")),),
}


@dataclass(frozen=True)
class Intervention:
    """What was changed, the signal before and after (means), its ratio, and whether the verdict stood.

    `confirms` is None where the measurement does not tell.
    """

    changed: str
    signal: str
    before: float
    after: float
    ratio: Ratio | None
    confirms: bool | None
    says: str

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        interval = [self.ratio.low, self.ratio.high] if self.ratio else None
        return {
            "changed": self.changed, "signal": self.signal, "before": self.before, "after": self.after,
            "ratio": self.ratio.value if self.ratio else None, "interval": interval, "confirms": self.confirms,
            "says": self.says,
        }  # fmt: skip

    def __str__(self) -> str:
        stood = {True: "the verdict stood", False: "the verdict did not stand", None: "it does not tell"}[self.confirms]
        ratio = f", ratio {self.ratio}" if self.ratio else ""
        return f"{self.changed}: {self.signal} {self.before:.3g} → {self.after:.3g}{ratio}; {stood} ({self.says})"


def intervene(
    verdict: Verdict,
    load: Load,
    server: Running,
    folder: Path,
    service: Changeable | None = None,
    asked: Mapping[str, Any] | None = None,
    after_each: Callable[[], object] = lambda: None,
) -> Intervention | None:
    """Test `verdict`, which was found with `load` on `server`; None where nothing can be changed.

    `service` may be started anew; `asked` are the further arguments of `look`; `after_each` is called after each run.
    Run folders go below `folder`.
    """
    for change in CHANGES.get(verdict.verdict, ()):
        made = _made(change.changed, load, server, service)
        if made is not None:
            break
    else:
        return None
    short, changed = replace(load, seconds=SECONDS, warmup=WARMUP), replace(made.load, seconds=SECONDS, warmup=WARMUP)
    before: list[Evidence] = []
    after: list[Evidence] = []
    with made.server as other:
        for number in range(1, PAIRS + 1):
            for changes in (False, True) if number % 2 else (True, False):
                with made.around() if changes else nullcontext():
                    name = f"{number:02d} {made.name if changes else 'as it is'}"
                    running, each = (other, changed) if changes else (server, short)
                    (after if changes else before).append(look(each, running.url, folder / name, **(asked or {})))
                    after_each()
    return _judged(change, before, after)


@dataclass(frozen=True)
class _Made:
    """A change that can be made: the load and the server with it, and what else has to be so during its runs."""

    name: str
    load: Load
    server: AbstractContextManager[Running]
    around: Callable[[], AbstractContextManager[None]] = nullcontext


def _made(name: str, load: Load, server: Running, service: Changeable | None) -> _Made | None:
    """The change of this name; None if it cannot be made here."""
    if name == HALF:
        return _Made(name, half(load), nullcontext(server))
    if name == CORES and hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < (os.cpu_count() or 1):
        return _Made(name, load, nullcontext(server), _on_all_cores)
    settings = _changed_settings(name, load, service) if service is not None else None
    if service is None or settings is None:
        return None
    return _Made(name, load, service.running(**settings))


def _changed_settings(name: str, load: Load, service: Changeable) -> dict[str, Any] | None:
    """The settings with which `service` is to be started for a change; None if it cannot be made."""
    if name == CONNECTIONS:
        uri = str(service.settings["mongodb_uri"])
        fewer = "&".join(each for each in uri.split("&") if not each.startswith("maxPoolSize="))
        return {"mongodb_uri": f"{fewer}{'&' if '?' in fewer else '/?'}maxPoolSize={MANY_CONNECTIONS}"}
    if name == STRAIGHT and service.straight is not None:
        return {"mongodb_uri": service.straight}
    if name == CACHE and load.scenario == "reads" and service.settings.get("cache") == "off":
        return {"cache": "tail"}
    return None


@contextmanager
def _on_all_cores() -> Iterator[None]:
    """Let this process, and the programs that it starts meanwhile, run on all cores."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def half(load: Load) -> Load:
    """Half as many users, and half the rate if there is one."""
    return replace(load, users=max(1, load.users // 2), rate=load.rate / 2 if load.rate else None)


def confirms(expected: Test, ratio: Ratio) -> bool | None:
    """Whether a ratio is as expected: True or False if its whole interval is on one side of the limit, else None."""
    above, under = ratio.low >= expected.limit, ratio.high < expected.limit
    if not above and not under:
        return None
    return above if expected.is_ == "at least" else under


def _judged(change: Change, before: Sequence[Evidence], after: Sequence[Evidence]) -> Intervention:
    signal = change.expected.signal
    pairs = [
        (one[signal], other[signal])
        for one, other in zip(before, after, strict=True)
        if one[signal] > 0 and other[signal] > 0
    ]
    if len(pairs) < 2:
        return Intervention(change.changed, signal, float("nan"), float("nan"), None, None, "too little was seen")
    firsts, seconds = [one for one, _ in pairs], [other for _, other in pairs]
    ratio, expected = paired_ratio(firsts, seconds), change.expected
    means = sum(firsts) / len(pairs), sum(seconds) / len(pairs)
    return Intervention(change.changed, signal, *means, ratio, confirms(expected, ratio), expected.says)
