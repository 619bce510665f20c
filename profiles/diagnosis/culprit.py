"""Name the function: what a Python server does while it is the limit, by one more run with py-spy."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import psutil

from harness import watch
from loadtests.run import Load
from loadtests.targets import Running
from profiles import kernel, stacks
from profiles.experiment import profile_run
from profiles.record import ProfilerError

SECONDS = 2.0
_PYTHON = re.compile(r"\.py(:\d+)?\)$")
# Threads that wait for these are not at work; py-spy's own list is of Python frames only. Python's lock is one of them.
_WAITS = re.compile(
    r"(?:^|_)([ep]?poll|p?select|futex|accept|recv|read|nanosleep|(sem|cond)_\w*wait|mutex_lock|acquire_lock)\w* \("
)
SQLITE = "sqlite3"


@dataclass(frozen=True)
class Culprit:
    """A function of the server, as `name (file)`, and the share of the samples in which it was the innermost.

    `in_sqlite` says that it had called SQLite then, which works inside the server.
    """

    function: str
    share: float
    in_sqlite: bool = False

    def __str__(self) -> str:
        doing = "was in SQLite, called by" if self.in_sqlite else "was in"
        return f"py-spy: the server {doing} {self.function} in {self.share:.0%} of its time at work"


def find(server: Running, load: Load, folder: Path, *, blocked: bool) -> Culprit | None:
    """The function in which the server spends most time under `load`; None if py-spy cannot tell.

    With `blocked` threads count that wait, as for a call that blocks the event loop.
    """
    processes = watch.behind(server.url).roles["server"]
    if not processes or not all(map(kernel.is_python, processes)):
        return None
    load = replace(load, seconds=SECONDS, warmup=0.5)
    with suppress(ProfilerError):
        if any(map(_has_sqlite, processes)):
            sampled = stacks.read(
                profile_run(server, load, folder / "sqlite", waiting=True, native=True) / "profile.raw"
            )
            sampled = sampled[_works(sampled)]
            inside = sampled[sampled["stack"].str.contains(SQLITE)]
            at_work = inside["samples"].sum() / max(1, sampled["samples"].sum())
            if at_work >= 0.5:
                return replace(_most(inside), share=float(at_work), in_sqlite=True)
        sampled = stacks.read(profile_run(server, load, folder / "profile", waiting=blocked) / "profile.raw")
        sampled = sampled[_works(sampled)]
        return _most(sampled) if len(sampled) else None
    return None


def _most(sampled: pd.DataFrame) -> Culprit:
    """The innermost Python function with the most samples."""
    functions = sampled["stack"].map(_innermost)
    counts = sampled["samples"].groupby(functions).sum().sort_values(ascending=False)
    return Culprit(str(counts.index[0]), float(counts.iloc[0] / counts.sum()))


def _innermost(stack: str) -> str:
    frames = [frame for frame in stack.split(";") if _PYTHON.search(frame)]
    return re.sub(r":\d+\)$", ")", frames[-1]) if frames else "C code"


def _works(sampled: pd.DataFrame) -> "pd.Series[bool]":
    """Which of the stacks are of threads that do something, or block the loop: not those that wait for work."""
    return ~sampled["stack"].map(lambda stack: bool(stacks.waits_for(stack)) or bool(_WAITS.search(_last_named(stack))))


def _last_named(stack: str) -> str:
    """The innermost frame that has a name: below it may be addresses in a C library without symbols."""
    return next((frame for frame in reversed(stack.split(";")) if not frame.startswith("0x")), "")


def _has_sqlite(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any(SQLITE in each.path for each in process.memory_maps())
    return False
