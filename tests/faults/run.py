"""One run: faults one step after another, under traffic; after each, all has to recover, and is looked at."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import clock
from harness.progress import Bar
from practice.outages import history
from practice.outages.callers import Caller
from practice.outages.checks import Finding, findings
from practice.outages.history import ACKNOWLEDGED, Fault, History, Post, Recorder
from server.recent import FRESH_SECONDS
from server.timeline import GAP_SECONDS
from tests.faults.embedded import EMBEDDED, Embedded, embedded
from tests.faults.kinds import FAULTS
from tests.faults.schedule import Step, steps
from tests.faults.services import WORKERS, Service
from tests.faults.setting import Setting, setting

PLAN = "run.json"
EMBEDDED_FOLDER = "embedded"
# A list from a cache may be FRESH_SECONDS old, and shows nothing above a missing number until that is void. The last
# second is for a busy machine.
STALE_SECONDS = FRESH_SECONDS + GAP_SECONDS + 1.0
# What has not come back by itself after so many seconds needs a hand.
HANDS_SECONDS = 60.0
POLL_SECONDS = 0.1
CALM_TRIES = 3
PROBES = 4  # of each service, each on a connection of its own, so that probably each worker is asked
SAMPLE = 5  # messages by chance, and as many that took longest, from whose times on lists are asked for after a fault
MARGIN = 100  # numbers above such a message that are asked for again
MORE_SECONDS = 2.0  # for which traffic goes on after the last fault, each time, until there are enough writes
FIRST_WRITES = 100  # before the first fault
PROGRAM = ("server",)


@dataclass(frozen=True)
class Plan:
    """What one run does: `faults` of them, or fewer if `seconds` are over, and at least `writes` acknowledged.

    `only` are the kinds of faults, all if empty; `planted` is the bug that the services have, none if empty.
    """

    seed: int
    faults: int
    writes: int
    seconds: float
    only: tuple[str, ...] = ()
    planted: str = ""

    @property
    def program(self) -> tuple[str, ...]:
        """The module that runs as the service."""
        return ("tests.faults.planted", self.planted) if self.planted else PROGRAM


def read_plan(folder: Path) -> Plan:
    """The plan of the run in `folder`. Raises `OSError`, and `ValueError` if it is none."""
    document = json.loads((folder / PLAN).read_text())
    return Plan(**document | {"only": tuple(document["only"])})


def histories(folder: Path) -> list[History]:
    """The histories in a run's folder: of the replica set, and of the embedded mongod if it was used.

    Raises `OSError` and `ValueError`.
    """
    found = [history.read(folder)]
    if (folder / EMBEDDED_FOLDER / history.FILE).exists():
        found.append(history.read(folder / EMBEDDED_FOLDER))
    return found


def judged(found: Sequence[History]) -> list[Finding]:
    """All that is wrong with the histories of a run."""
    return [finding for each in found for finding in findings(each, STALE_SECONDS)]


def run(plan: Plan, folder: Path, bar: "Bar[object]") -> None:
    """Do what `plan` says, with everything that is recorded in `folder`. Raises `MongodError`, `ProgramError`."""
    folder.mkdir(parents=True)
    (folder / PLAN).write_text(json.dumps(asdict(plan), indent=1) + "\n")
    recorder = Recorder(folder)
    deadline = time.monotonic() + plan.seconds
    with ExitStack() as stack:
        stack.callback(recorder.close)
        bar.set_description("starting a replica set and two services")
        built = stack.enter_context(setting(folder, recorder, plan.seed, plan.program))
        own = stack.enter_context(embedded(folder / EMBEDDED_FOLDER, plan.program, plan.seed, built.loop))
        runner = Run(built, own, bar)
        built.start_traffic()
        built.loop.run(built.traffic.go_on(FIRST_WRITES))
        for each in steps(plan.seed, plan.faults, plan.only):
            if time.monotonic() > deadline:
                break
            runner.step(each)
        while built.traffic.acknowledged < plan.writes and time.monotonic() < deadline:
            runner.say("more writes")
            built.loop.run(built.traffic.go_on(plan.writes, MORE_SECONDS))
        runner.end()


class Run:
    """The steps of a run in a setting, as they come."""

    def __init__(self, setting: Setting, own: Embedded, bar: "Bar[object]") -> None:
        self._setting, self._own, self._bar = setting, own, bar
        self._dice = random.Random(setting.seed)
        self._looked_at = 0  # the highest number of the last look
        self._posts = 0  # that were there then
        self._probes = 0

    def say(self, what: str) -> None:
        """Show what is being done."""
        self._bar.set_description(f"{self._setting.traffic.acknowledged:,} writes, {what}"[:60].ljust(60))

    def step(self, step: Step) -> None:
        """Inject the faults of one step, heal them, wait until all is well, and look at everything."""
        self.say(" + ".join(step.kinds))
        if step.kinds[0] in EMBEDDED:
            self._own.inject(step.kinds[0], step.seconds)
        else:
            began, ended = self._inject(step)
            self._recover()
            killed = sorted(self._setting.killed)
            self._setting.killed.clear()
            kinds = " + ".join(step.kinds)
            self._setting.recorder.add(Fault(kinds, began, ended, clock.now(), killed))
            self._look()
        self._bar.update(len(step.kinds))

    def end(self) -> None:
        """Let the traffic end, and look at all there is, from the first message to the last."""
        self.say("the last look")
        setting = self._setting
        setting.loop.run(setting.traffic.stop())
        setting.record_stored()
        posts = setting.recorder.history.acknowledged()
        asked = self._dice.sample(list(posts.values()), min(len(posts), 20 * SAMPLE))
        asked += [posts[text] for text in _of_falling_times(setting.recorder.history) if text in posts]
        for name in setting.urls:
            setting.loop.run(self._walk(name, 0, asked))

    def _inject(self, step: Step) -> tuple[float, float]:
        """Inject and heal; return when the faults began and ended."""
        began, dice = clock.now(), random.Random(step.seed)
        with ExitStack() as stack:
            for kind in step.kinds:
                stack.enter_context(FAULTS[kind](self._setting, dice))
            time.sleep(step.seconds)
        return began, clock.now()

    def _recover(self) -> None:
        """Start what has ended, as a supervisor does, and wait until all else is back by itself."""
        setting = self._setting
        setting.members.wait_until_healthy()
        for each in setting.services:
            each.start()
            if not self._comes_back(each):
                setting.note("hand", f"{each.name} did not recover within {HANDS_SECONDS:g} s, and was started again")
                setting.killed.add(each.name)
                each.close()
                each.start()
            for text in each.new_tracebacks():
                setting.note("traceback", text)

    def _comes_back(self, service: Service) -> bool:
        """Whether a service comes back by itself, where the replica set is calm: on a busy machine it may not be."""
        for _ in range(CALM_TRIES):
            self._setting.members.wait_until_healthy()
            election = self._setting.members.election()
            if self._setting.loop.run(self._answers(service.name)) and _has_all_workers(service):
                return True
            if election is not None and self._setting.members.election() == election:
                return False
        return False

    async def _answers(self, service: str) -> bool:
        """Whether a service acknowledges messages again."""
        try:
            async with asyncio.timeout(HANDS_SECONDS):
                for _ in range(PROBES):
                    self._probes += 1
                    caller = self._caller("probe", service)
                    await caller.post_until_acknowledged(f"probe {self._probes}", may_move=False)
                    caller.close()
        except TimeoutError:
            return False
        return True

    def _look(self) -> None:
        """Follow all lists of both services down to where the last look began, and from the times of some messages."""
        self.say("looking at all lists")
        posts = self._setting.recorder.history.post
        new = [each for each in posts[self._posts :] if each.outcome == ACKNOWLEDGED]
        self._posts = len(posts)
        slowest = sorted(new, key=lambda each: each.began - each.ended)[:SAMPLE]
        asked = {each.text: each for each in [*slowest, *self._dice.sample(new, min(len(new), SAMPLE))]}
        for name in self._setting.urls:
            self._setting.loop.run(self._walk(name, self._looked_at, list(asked.values())))
        self._looked_at = min((each.seq for each in new), default=self._looked_at)

    async def _walk(self, service: str, down_to: int, asked: Sequence[Post]) -> None:
        caller = self._caller("walker", service)
        done, cursors = await caller.walk(down_to=down_to)
        if not done:
            self._setting.note("hand", f"{service} was well, and then answered no list")
        for each in asked:
            below, cursor = next(_above(cursors, each.seq + MARGIN), (0, ""))
            await caller.walk(since=each.at, cursor=cursor, below=below)
        caller.close()

    def _caller(self, name: str, service: str) -> Caller:
        caller = Caller(name, self._setting.urls, self._setting.recorder, self._setting.seed)
        caller.service = service
        return caller


def _above(cursors: Sequence[tuple[int, str]], number: int) -> Iterator[tuple[int, str]]:
    """The cursors that continue below a number above `number`, the nearest first."""
    return (each for each in reversed(cursors) if each[0] > number)


def _of_falling_times(history: History) -> Iterator[str]:
    """The messages after which times fall: a list since such a time may leave something out."""
    for (text, _, at), (_, _, next_at) in itertools.pairwise(history.stored[-1].messages):
        if at > next_at:
            yield text


def _has_all_workers(service: Service) -> bool:
    """Whether a service has as many workers as it was told, within HANDS_SECONDS."""
    deadline = time.monotonic() + HANDS_SECONDS
    while len(service.workers()) < WORKERS:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
