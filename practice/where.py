"""Where the time of a learner's server goes: by py-spy if it is in Python, else as the kernel sees it."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import requests

from harness import watch
from harness.servers import direct_session
from harness.threads import meanwhile
from loadtests.folders import new_folder
from loadtests.run import Load
from loadtests.targets import Running
from practice.measured import Where
from profiles import kernel
from profiles.experiment import SYSTEM, WAITING, breakdown, lines_per_request, profile_run, stacks_per_request
from profiles.record import ProfilerError

# One process that does less than this share of the work does not speak for all of them.
MOST_OF_THE_WORK = 0.8
OWN_LINES = 3
ANSWER_SECONDS = 20.0
UNSEEN = "The server cannot be seen: it is not on this machine, or belongs to another user."
# py-spy sees Python only while it holds the interpreter's lock; the rest of the processor time has this name.
REST = "system calls, and C code such as SQLite's"


def look(server: Running, reads: Load, folder: Path) -> Where:
    """Where the time of `server` goes under `reads`. `folder` has its sources: their lines are named."""
    processes = watch.behind(server.url).roles["server"]
    if not processes:
        return Where(notes=[UNSEEN])
    seen, share = _by_the_kernel(server.url, processes, reads.seconds, reads.headers)
    if not all(map(kernel.is_python, processes)):
        return seen
    if share < MOST_OF_THE_WORK:
        note = f"py-spy looks into one process, and {len(processes)} share the work: this is what the kernel sees"
        return seen.model_copy(update={"notes": [note, *seen.notes]})
    try:
        return _by_py_spy(profile_run(server, reads, new_folder("profile-reads"), title="profile"), folder)
    except ProfilerError as error:
        return seen.model_copy(update={"notes": [str(error), *seen.notes]})


def in_sqlite(server: Running, mixed: Load) -> float | None:
    """How long each request of `mixed` is inside SQLite, in µs, waiting for the disk included; None if never seen.

    Raises `ProfilerError` where py-spy cannot look. All threads are looked at, whether they work or wait.
    """
    recorded = profile_run(server, mixed, new_folder("profile-sqlite"), title="SQLite", waiting=True, native=True)
    rows = stacks_per_request(recorded)
    return float(rows.loc[rows["stack"].str.contains("sqlite3"), "us_per_request"].sum()) or None


def calls_out(server: Running) -> bool:
    """Whether the server is connected to another program, here or elsewhere: its database may be one."""
    port = urlsplit(server.url).port
    for process in watch.behind(server.url).roles["server"]:
        with suppress(psutil.Error):
            for each in process.net_connections("tcp"):
                if each.status == psutil.CONN_ESTABLISHED and each.laddr.port != port:
                    return True
    return False


def _by_py_spy(recorded: Path, folder: Path) -> Where:
    rows = breakdown(recorded)
    spent = rows[rows["category"] != WAITING].set_index("category")["us_per_request"]
    spent = spent.rename({SYSTEM: REST}).sort_values(ascending=False)
    lines = lines_per_request(recorded)
    own = lines.groupby(lines["stack"].map(lambda stack: _own_line(stack, folder)))["us_per_request"].sum()
    notes = [
        f"{us:,.0f} µs of it, without system calls, in {line} and what it calls"
        for line, us in own.drop("", errors="ignore").nlargest(OWN_LINES).items()
    ]
    return Where(by="py-spy", parts={str(name): float(us) for name, us in spent.items() if us}, notes=notes)


def _own_line(stack: str, folder: Path) -> str:
    """The innermost frame of a stack that is in a file of the learner's; "" if there is none."""
    for frame in reversed(stack.split(";")):
        name, _, place = frame.removesuffix(")").rpartition(" (")
        if name != "<module>" and (folder / place.partition(":")[0]).is_file():
            return f"{place} {name}"
    return ""


def _by_the_kernel(
    url: str, processes: Sequence[psutil.Process], seconds: float, headers: Mapping[str, str] | None = None
) -> tuple[Where, float]:
    """What the kernel tells while one caller reads as fast as it is answered; and the busiest process's share of it."""
    answered = 0

    def read_on(ended: threading.Event) -> None:
        nonlocal answered
        with direct_session() as session:
            session.headers.update(headers or {})
            while not ended.is_set():
                with suppress(requests.RequestException):
                    session.get(f"{url}/messages", params={"limit": 20}, timeout=ANSWER_SECONDS)
                    answered += 1

    before = [watch.cpu_seconds(each) for each in processes]
    with meanwhile(read_on):
        seen = kernel.view(processes, seconds)
    used = [watch.cpu_seconds(each) - first for each, first in zip(processes, before, strict=True)]
    reads = max(1, answered)
    notes = [
        f"{reads / seen.seconds:,.0f} reads/s by one caller, answered by {_count(len(processes), 'process', 'es')}",
        f"for each read it waited {seen.voluntary / reads:.1f} times for something (a request, the disk, a lock)",
    ]
    parts = {"its own code": 1e6 * seen.own / reads, "system calls": 1e6 * seen.system / reads}
    return Where(by="the kernel", parts=parts, notes=notes), max(used) / (sum(used) or 1.0)


def _count(number: int, word: str, ending: str) -> str:
    return f"{number} {word}{ending if number != 1 else ''}"
