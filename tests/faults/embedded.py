"""Faults of a service on its own, embedded mongod: it or its guard is killed, and the service is started again.

That is what the service asks for: a mongod that died is never started silently.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from harness import clock
from practice.outages.background import Loop
from practice.outages.callers import Caller, Traffic
from practice.outages.history import Fault, Noted, Recorder
from practice.outages.stored import stored
from tests.faults.services import Service

NAME = "embedded service"
WRITERS, READERS, FOLLOWERS = 4, 1, 1
WRITES = 20  # before a fault, and after it
DATA = "data"
DATABASE = "backend_lab"


def _mongod(state: dict[str, Any]) -> psutil.Process:
    return psutil.Process(state["pid"])


def _guard(state: dict[str, Any]) -> psutil.Process:
    return psutil.Process(state["guard"])


# What is killed, found by what is in the data dir.
EMBEDDED: dict[str, Callable[[dict[str, Any]], psutil.Process]] = {
    "embedded mongod killed": _mongod,
    "guard of the mongod killed": _guard,
}


class Embedded:
    """A service with a mongod of its own, in `folder`; it runs while a fault is injected, and keeps its data."""

    def __init__(self, folder: Path, program: tuple[str, ...], seed: int, loop: Loop) -> None:
        self._folder, self._loop, self._seed = folder, loop, seed
        self.recorder = Recorder(folder)
        settings = {"data_dir": folder / DATA, "database": DATABASE}
        self.service = Service(NAME, folder, program, lambda pid, name: None, **settings)
        self._rounds = 0

    def inject(self, kind: str, seconds: float) -> None:
        """Inject one fault while clients are at work; return when all is well again, and was looked at."""
        self.service.start()
        self._rounds += 1
        traffic = Traffic({NAME: self.service.url}, self.recorder, self._seed * 1000 + self._rounds, f"{self._rounds} ")
        self._loop.run(traffic.start(WRITERS, READERS, FOLLOWERS))
        try:
            self._loop.run(traffic.go_on(WRITES))
            began = clock.now()
            EMBEDDED[kind](json.loads((self._folder / DATA / "mongod.json").read_text())).kill()
            time.sleep(seconds)
            ended = clock.now()
            if problem := self.service.terminate():
                self.recorder.add(Noted("hand", clock.now(), problem))
            self.service.start()
            if not self._loop.run(traffic.go_on(WRITES)):
                self.recorder.add(Noted("hand", clock.now(), f"no write after {kind}, and a restart"))
            self.recorder.add(Fault(kind, began, ended, clock.now(), []))
            self._loop.run(traffic.stop())
        finally:
            self._loop.run(traffic.cancel())
        self.look()
        self.service.terminate()

    def look(self) -> None:
        """Follow the list to its end, and record what is stored and logged."""
        caller = Caller("walker", {NAME: self.service.url}, self.recorder, self._seed)
        self._loop.run(caller.walk())
        caller.close()
        state = json.loads((self._folder / DATA / "mongod.json").read_text())
        self.recorder.add(stored(state["uri"], DATABASE))
        for text in self.service.new_tracebacks():
            self.recorder.add(Noted("traceback", clock.now(), text))


@contextmanager
def embedded(folder: Path, program: tuple[str, ...], seed: int, loop: Loop) -> Iterator[Embedded]:
    """The setting, whose files and history are in `folder`; nothing of it runs after the block."""
    with ExitStack() as stack:
        made = Embedded(folder, program, seed, loop)
        stack.callback(made.recorder.close)
        stack.callback(made.service.terminate)
        yield made
