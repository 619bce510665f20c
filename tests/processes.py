"""Find the processes that a test has started, and stop one for a while."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.waiting import eventually


def using(directory: Path) -> list[psutil.Process]:
    """The processes that name `directory`, or something inside it, on their command line. Zombies have none."""
    found = psutil.process_iter(["cmdline"])
    return [each for each in found if any(str(directory) in word for word in each.info["cmdline"] or [])]


def children() -> list[psutil.Process]:
    """What this process has started and still runs."""
    return [each for each in psutil.Process().children() if is_running(each)]


def guard_of(data_dir: Path) -> psutil.Process:
    """The guard of the embedded MongoDB in `data_dir`."""
    (guard,) = [each for each in using(data_dir) if "harness.mongod" in each.info["cmdline"]]
    return guard


def mongod_of(data_dir: Path) -> psutil.Process:
    """The embedded MongoDB in `data_dir`."""
    return psutil.Process(json.loads((data_dir / "mongod.json").read_text())["pid"])


def kill(*processes: psutil.Process) -> None:
    """End `processes` at once, and wait until they have ended and let go of their files and ports."""
    for process in processes:
        process.kill()
    eventually(lambda: not any(is_running(process) for process in processes))


def is_running(process: psutil.Process) -> bool:
    """Whether `process` still runs. One that is dying does, even when its command line has gone; a zombie does not.

    A process whose first thread is a zombie has its files and ports for as long as another thread is dying.
    """
    try:
        return process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """Hold `process` while the block runs: it lives and keeps its connections, but answers nobody."""
    process.send_signal(signal.SIGSTOP)
    try:
        # One of its threads takes the signal and stops the others: on a busy machine they go on until it has its turn.
        eventually(lambda: all(state == "T" for state in _states(process)))
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _states(process: psutil.Process) -> Iterator[str]:
    """The state of each thread of a process, as in proc(5)."""
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        yield (task / "stat").read_text().rpartition(") ")[2][0]
