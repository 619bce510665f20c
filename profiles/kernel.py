"""What the kernel tells of any process, whatever its language: for servers that py-spy cannot look into."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness import clock

PROC = Path("/proc")


@dataclass(frozen=True)
class KernelView:
    """Where processes spent `seconds`, together: processor seconds in their own code and in system calls.

    `delayed` are seconds in which a thread was ready to run and had no processor; `voluntary` counts how often a thread
    waited for something (an answer, a disk, a lock), `involuntary` how often it lost the processor to another; `reads`
    and `writes` count system calls on files and pipes, not on sockets. NaN where the system does not tell.
    """

    seconds: float
    processes: int
    own: float
    system: float
    delayed: float
    voluntary: float
    involuntary: float
    reads: float
    writes: float

    def lines(self) -> list[str]:
        """The same in words."""
        return [
            f"{self.processes} processes, for {self.seconds:.1f} s",
            f"own code             {self.own / self.seconds:6.1%} of a core",
            f"in system calls      {self.system / self.seconds:6.1%} of a core",
            f"ready, no processor  {self.delayed / self.seconds:6.1%} of the time, summed over threads",
            f"waited for something {self.voluntary / self.seconds:6,.0f} times a second",
            f"lost the processor   {self.involuntary / self.seconds:6,.0f} times a second",
            f"file and pipe calls  {(self.reads + self.writes) / self.seconds:6,.0f} a second",
        ]


def is_python(process: psutil.Process) -> bool:
    """Whether py-spy can look into a process: one that runs Python's interpreter, as a program or as a library."""
    try:
        if Path(process.exe()).name.startswith("python"):
            return True
        return any("libpython" in each.path for each in process.memory_maps())
    except psutil.Error:
        return False


def view(processes: Sequence[psutil.Process], seconds: float) -> KernelView:
    """Watch `processes` for `seconds`."""
    began, before = clock.now(), _totals(processes)
    threading.Event().wait(seconds)
    took, after = clock.now() - began, _totals(processes)
    return KernelView(took, len(processes), *(late - early for early, late in zip(before, after, strict=True)))


def _totals(processes: Sequence[psutil.Process]) -> list[float]:
    """The counters of KernelView so far, summed over the processes that still run."""
    totals = [0.0] * 7
    for process in processes:
        with suppress(psutil.Error, OSError):
            times, switches = process.cpu_times(), process.num_ctx_switches()
            files = process.io_counters() if hasattr(process, "io_counters") else None
            found = [
                times.user,
                times.system,
                _delay(process.pid),
                switches.voluntary,
                switches.involuntary,
                files.read_count if files else float("nan"),
                files.write_count if files else float("nan"),
            ]
            totals = [total + each for total, each in zip(totals, found, strict=True)]
    return totals


def _delay(pid: int) -> float:
    """Seconds in which threads of the process waited for a processor; NaN where /proc does not tell."""
    waited = 0.0
    tasks = PROC / str(pid) / "task"
    if not tasks.exists():
        return float("nan")
    for task in tasks.iterdir():
        with suppress(OSError):  # the thread has ended
            waited += int((task / "schedstat").read_text().split()[1]) / 1e9
    return waited
