"""What the kernel tells of the processes of a run, while it lasts: work, waiting for a processor, unread bytes."""

import itertools
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import nan
from pathlib import Path

import psutil

from harness import clock, machine, sockets, watch
from harness.threads import meanwhile
from profiles.kernel import PROC, is_python

# Looks at the queues come at random, so that they are not in step with the load.
QUEUE_SECONDS = (0.002, 0.006)
QUEUE_SHARE = 0.1  # of a processor at most goes into looking
THREADS_SECONDS = 0.25
STATE_SECONDS = (0.03, 0.07)  # at random too: who is stopped in turns may be so in step
FIND_SECONDS = 1.0
CGROUPS = Path("/sys/fs/cgroup")
Process = tuple[str, int]  # role, pid


@dataclass(frozen=True)
class Unread:
    """How many connections held unread bytes at `time`, by who did not read.

    requests: by the server; answers: by the callers; operations: by the database; replies: by the server, from it.
    """

    time: float
    requests: int
    answers: int
    operations: int
    replies: int


@dataclass(frozen=True)
class Look:
    """A process at `time`: the processor time that it has used so far (s), and its threads that live, by their ids.

    Of each thread: how long it had a processor so far, and how long it was ready and had none (s).
    """

    time: float
    used: float
    threads: Mapping[int, tuple[float, float]]


@dataclass(frozen=True)
class Worked:
    """What a process did, for each second: processors that it used, and of its threads what each used and waited for.

    Threads that ended meanwhile, as where each connection has its own, are in `used` and not in `ran`.
    """

    used: float
    ran: tuple[float, ...]
    delayed: tuple[float, ...]

    @classmethod
    def between(cls, looks: Sequence[Look]) -> "Worked":
        """From the first of two or more looks to the last."""
        took = looks[-1].time - looks[0].time
        first: dict[int, tuple[float, float]] = {}
        last: dict[int, tuple[float, float]] = {}
        for look in looks:
            first = {**look.threads, **first}
            last |= look.threads
        ran = tuple((last[each][0] - first[each][0]) / took for each in last)
        delayed = tuple((last[each][1] - first[each][1]) / took for each in last)
        return cls(max(sum(ran), (looks[-1].used - looks[0].used) / took), ran, delayed)

    @property
    def working_threads(self) -> float:
        """How many threads did a tenth or more of the work. Those that ended count as one for each tenth."""
        tenth = 0.1 * self.used
        if not tenth:
            return 0.0
        return float(sum(each >= tenth for each in self.ran)) + (self.used - sum(self.ran)) // tenth


@dataclass
class KernelWatch:
    """What was noted, to be asked for a stretch of time. NaN where the kernel does not tell."""

    unread: list[Unread] = field(default_factory=list)
    looks: dict[Process, list[Look]] = field(default_factory=dict)
    stopped: dict[Process, list[tuple[float, bool]]] = field(default_factory=dict)  # (time, by SIGSTOP or a debugger)
    usable: dict[int, float] = field(default_factory=dict)  # cores that a process can use at once
    busy: list[tuple[float, float]] = field(default_factory=list)  # (time, processor seconds of the whole machine)
    ours: list[tuple[float, float]] = field(default_factory=list)  # (time, processor seconds of this process)

    def mean_unread(self, who: str, begin: float, end: float) -> float:
        """The mean number, over the time, of connections with bytes that `who` (a field of `Unread`) has not read.

        Not over the looks: on a busy machine they come late, and that is when most lies unread.
        """
        seen = [(each.time, getattr(each, who)) for each in self.unread if begin <= each.time <= end]
        if len(seen) < 2:
            return nan
        area = sum((after[0] - before[0]) * (before[1] + after[1]) / 2 for before, after in itertools.pairwise(seen))
        return area / (seen[-1][0] - seen[0][0])

    def processor(self, role: str, begin: float, end: float) -> tuple[float, float]:
        """The processor use of `role`, as a share of what it can use, and the share of the time it was kept from one.

        The process that is nearest to its limit counts, and in it all its threads together, or the busiest alone. What
        keeps it is that other programs run, which the kernel counts for each thread (here the most), or a signal.
        """
        worked = self._worked(role, begin, end)
        if not worked:
            return nan, nan
        used = max(max([each.used / self.usable.get(pid, 1.0), *each.ran]) for pid, each in worked.items())
        kept = max(
            max(each.delayed, default=0.0) + self._stopped(role, pid, begin, end) for pid, each in worked.items()
        )
        return used, min(1.0, kept)

    def working_threads(self, role: str, begin: float, end: float) -> float:
        """How many threads of the busiest process of `role` did a tenth or more of its work; NaN if none was seen."""
        worked = self._worked(role, begin, end)
        return max(worked.values(), key=lambda each: each.used).working_threads if worked else nan

    def _worked(self, role: str, begin: float, end: float) -> dict[int, Worked]:
        """What each process of `role` did, by its pid."""
        seen = {pid: [each for each in looks if begin <= each.time <= end]
                for (of, pid), looks in self.looks.items() if of == role}  # fmt: skip
        return {pid: Worked.between(looks) for pid, looks in seen.items() if len(looks) > 1}

    def _stopped(self, role: str, pid: int, begin: float, end: float) -> float:
        """The share of the time in which a process was stopped."""
        seen = [stopped for time, stopped in self.stopped.get((role, pid), ()) if begin <= time <= end]
        return sum(seen) / len(seen) if seen else 0.0

    def grown(self, samples: Sequence[tuple[float, float]], begin: float, end: float) -> float:
        """By how much a counter grew for each second; NaN if it was not seen."""
        seen = [each for each in samples if begin <= each[0] <= end]
        return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0]) if len(seen) > 1 else nan


@contextmanager
def watching(url: str, port: int, database_ports: Sequence[int]) -> Iterator[KernelWatch]:
    """Watch the server at `url`, what it is connected to, and the machine, while the block runs.

    `port` is the server's; `database_ports` are those to which it connects, and where its database listens.
    """
    seen = KernelWatch()
    unread = partial(_keep_counting_unread, seen, port, database_ports)
    looks = partial(_keep_looking, seen, url, database_ports)
    with meanwhile(unread), meanwhile(looks):
        yield seen


def _keep_counting_unread(seen: KernelWatch, port: int, database_ports: Sequence[int], ended: threading.Event) -> None:
    """Note how many connections hold unread bytes, until `ended`."""
    try:
        kernel = sockets.UnreadBytes()
    except OSError:  # not on this system
        return
    be_punctual()
    known: list[sockets.Connection] = []
    looked = -FIND_SECONDS
    with closing(kernel):
        took = 0.0
        while not ended.wait(max(took / QUEUE_SHARE, random.uniform(*QUEUE_SECONDS))):
            if clock.now() - looked >= FIND_SECONDS:
                looked, known = clock.now(), sockets.connections({port, *database_ports}, without_own=True)
            began = time.thread_time()  # of this thread alone: who is kept from looking must not look less often
            held = kernel.of(known)
            took = time.thread_time() - began
            seen.unread.append(
                Unread(
                    clock.now(),
                    requests=sum(each.port == port for each in held),
                    answers=sum(each.remote_port == port for each in held),
                    operations=sum(each.port in database_ports for each in held),
                    replies=sum(each.remote_port in database_ports for each in held),
                )
            )


def be_punctual() -> None:
    """Give this thread real-time priority, if the system allows it (root, or RLIMIT_RTPRIO).

    Else it looks when others have just been at work, or wait, and not at times of its own.
    """
    with suppress(AttributeError, PermissionError):  # another system, or not allowed
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))


def _keep_looking(seen: KernelWatch, url: str, database_ports: Sequence[int], ended: threading.Event) -> None:
    """Note what the processes do and whether they are stopped, and how busy the machine is, until `ended`."""
    found: list[tuple[str, psutil.Process]] = []
    looked = noted = -FIND_SECONDS
    myself = psutil.Process()
    while not ended.wait(random.uniform(*STATE_SECONDS)):
        if clock.now() - looked >= FIND_SECONDS:
            looked = clock.now()
            found = [(role, each) for role, processes in _roles(url, database_ports).items() for each in processes]
        for role, process in found:
            _note_state(seen, role, process)
        if clock.now() - noted < THREADS_SECONDS:
            continue
        noted = clock.now()
        for role, process in found:
            _note_work(seen, role, process)
        seen.busy.append((clock.now(), machine.busy_seconds()))
        seen.ours.append((clock.now(), watch.cpu_seconds(myself)))


def _roles(url: str, database_ports: Sequence[int]) -> dict[str, list[psutil.Process]]:
    """The processes behind `url` by their roles, with the mongod that listens on one of `database_ports`."""
    found = watch.behind(url).roles
    for port in database_ports:
        found["mongod"] += [
            each for each in watch.listeners(port) if "mongod" in each.name() and each not in found["mongod"]
        ]
    return found


def _note_state(seen: KernelWatch, role: str, process: psutil.Process) -> None:
    with suppress(psutil.Error):
        is_stopped = process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        seen.stopped.setdefault((role, process.pid), []).append((clock.now(), is_stopped))


def _note_work(seen: KernelWatch, role: str, process: psutil.Process) -> None:
    with suppress(psutil.Error, OSError):
        if process.pid not in seen.usable:
            seen.usable[process.pid] = usable_cores(process)
        used, threads = watch.cpu_seconds(process), {}
        for task in (PROC / str(process.pid) / "task").iterdir():
            with suppress(OSError):  # the thread has ended
                ran, delayed, _ = (task / "schedstat").read_text().split()
                threads[int(task.name)] = (int(ran) / 1e9, int(delayed) / 1e9)
        seen.looks.setdefault((role, process.pid), []).append(Look(clock.now(), used, threads))


def usable_cores(process: psutil.Process) -> float:
    """How many cores `process` can use at once: those it may run on, its cgroup's quota, and one for Python's lock."""
    cores = float(len(os.sched_getaffinity(process.pid))) if hasattr(os, "sched_getaffinity") else 1.0
    if is_python(process):
        cores = min(cores, 1.0)
    with suppress(OSError, ValueError):
        group = _unified_group((PROC / str(process.pid) / "cgroup").read_text())
        quota, period = (CGROUPS / group.lstrip("/") / "cpu.max").read_text().split()
        cores = min(cores, int(quota) / int(period))
    return cores


def _unified_group(text: str) -> str:
    """The group of cgroup v2 in /proc/PID/cgroup. Raises `ValueError` without one."""
    for line in text.splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    raise ValueError("no cgroup v2")
