"""The service with a bug: `python -m tests.faults.planted BUG`, then the flags of `python -m server`.

Each bug is one that the checkers have to find, with the faults that bring it to light.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pymongo.write_concern import WriteConcern

from server import app, mongodb, recent, store, timeline, workers
from server.messages import Entry, Page


def _replace(owner: Any, name: str, value: Any) -> None:
    """Put `value` in the place of what the service has under this name. Raises `AttributeError` if it has nothing."""
    getattr(owner, name)
    setattr(owner, name, value)


def _not_durable() -> None:
    _replace(store, "DURABLE", WriteConcern(w=1))


def _keys_forgotten() -> None:
    document = store.Store._document

    def without_key(self: Any, write: Any) -> Any:
        return {name: value for name, value in document(self, write).items() if name != "dedupe"}

    _replace(store.Store, "_document", without_key)


def _since_too_late() -> None:
    first_since = store.Store.first_since

    async def late(self: Any, since: Any) -> int | None:
        found = await first_since(self, since)
        return None if found is None else found + 1

    _replace(store.Store, "first_since", late)


def _times_fall() -> None:
    next_numbers = store.Store._next_numbers

    async def earlier(self: Any, *arguments: Any) -> Any:
        first, now, *rest = await next_numbers(self, *arguments)
        return first, now.replace(microsecond=now.microsecond // 100_000 * 100_000) if first % 2 else now, *rest

    _replace(store.Store, "_next_numbers", earlier)


def _gaps_skipped() -> None:
    def skip(complete: int, numbers: Any) -> int:
        return max([complete, *numbers])

    _replace(timeline, "_extended", skip)


def _cache_trusted() -> None:
    class Trusted(recent.TailCache):
        def arrived(self, entry: Entry) -> None:
            if not self.filled.is_set():
                super().arrived(entry)

        async def recent(self, limit: int, seen: int = 0) -> Page:
            return self.cached(limit) or await super().recent(limit, seen)

    _replace(recent, "TailCache", Trusted)


def _not_drained() -> None:
    async def at_once(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    _replace(app, "_drain", at_once)


def _workers_not_replaced() -> None:
    async def never(self: Any, worker: Any) -> None:
        await asyncio.Event().wait()

    _replace(workers._Workers, "_keep", never)


def _database_errors_untranslated() -> None:
    _replace(mongodb, "unavailable", lambda error: error)


@dataclass(frozen=True)
class Bug:
    """What plants it, the kinds of findings of which one at least has to be found, and the faults that show it."""

    plant: Callable[[], None]
    found_as: frozenset[str]
    faults: tuple[str, ...]


BUGS = {
    "acknowledged before a majority has it": Bug(_not_durable, frozenset({"lost"}), ("number given twice",)),
    "keys forgotten": Bug(_keys_forgotten, frozenset({"doubled"}), ("workers killed after the commit",)),
    "since begins too late": Bug(_since_too_late, frozenset({"hidden", "stale"}), ("worker killed",)),
    "times fall": Bug(_times_fall, frozenset({"disorder"}), ("worker killed",)),
    "gaps skipped": Bug(_gaps_skipped, frozenset({"followers", "stale"}), ("worker killed",)),
    "cache trusted": Bug(_cache_trusted, frozenset({"stale"}), ("network cut",)),
    "not drained": Bug(_not_drained, frozenset({"cut"}), ("service ended",)),
    "workers not replaced": Bug(_workers_not_replaced, frozenset({"hands"}), ("worker killed",)),
    "errors of the database untranslated": Bug(
        _database_errors_untranslated, frozenset({"500s", "tracebacks"}), ("network cut", "primary killed")
    ),
}

if __name__ in {"__main__", "__mp_main__"}:  # the service's workers are new processes, and import this again
    BUGS[sys.argv[1]].plant()
if __name__ == "__main__":
    from server.__main__ import command

    command(args=sys.argv[2:], prog_name="python -m server")
