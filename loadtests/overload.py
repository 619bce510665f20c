"""What a rate limit protects: writes at several times the rate that a server can take, with a limit and without one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from matplotlib.figure import Figure

from harness import progress, watch
from loadtests import charts
from loadtests.experiment import targets_of
from loadtests.folders import new_folder
from loadtests.ingest import Run
from loadtests.request_log import OK
from loadtests.run import Load, run
from loadtests.sentences import Sentence
from loadtests.summary import summarize

# How many times the capacity is offered, and what share of it the limit admits.
TIMES, ADMITTED = 4.0, 0.7
# A message that was stored later than this after it was due is of no use to its sender any more.
IN_TIME_MS = 1000.0
# So many that it is the server in which requests wait, and not the load generator.
USERS = 2000
CALLERS = 32
# A server that stores this share of all in time was not offered several times what it can take.
TAKEN = 0.5
NO_LIMIT, LIMIT = "no limit", "limit"
INSIST, WAIT = "send again at once", "wait as Retry-After says"
# Each write is a commit of its own, so that a load generator on the same machine can offer several times what is too
# much; and no bound but the limit refuses anything.
SETTINGS: Mapping[str, Any] = {"writes": "single", "max_waiting": 1_000_000}


def limit_for(capacity: float) -> str:
    """The limit, as `--write-limit` takes it, for a server that can store `capacity` messages a second."""
    return f"{max(1, round(ADMITTED * capacity))}/second"


def overload(capacity: float, seconds: float = 3.0, folder: Path | None = None) -> pd.DataFrame:
    """Offer TIMES `capacity` writes a second to a server without a limit and to one with it; a row for each.

    Columns: offered_per_s; stored_per_s; in_time_per_s (stored within IN_TIME_MS of being due: the goodput);
    p50_ms, p95_ms (from due time, of those that were not refused); refused_per_s; memory_mb (by how much the server's
    memory grew); void; folder. Raises `RunError` and `ProgramError`.
    """
    load = Load("writes", users=USERS, seconds=seconds, warmup=1.0, rate=TIMES * capacity, fast=True)
    variants = {NO_LIMIT: SETTINGS, LIMIT: {**SETTINGS, "write_limit": limit_for(capacity)}}
    return _measure({name: (settings, load) for name, settings in variants.items()}, folder or new_folder("overload"))


def protection(rows: pd.DataFrame) -> Sentence:
    """What the limit protected, by the rows of `overload`; not said if the server could take what it was offered."""
    offered, in_time = rows["offered_per_s"], rows["in_time_per_s"]
    if in_time[NO_LIMIT] >= TAKEN * offered[NO_LIMIT]:
        return Sentence(
            f"Nothing: {offered[NO_LIMIT]:,.0f} writes/s were no overload; without a limit {in_time[NO_LIMIT]:,.0f} of "
            "them were stored in time.",
            said=False,
        )
    words = in_time.map("{:,.0f} writes/s in time, ".format) + rows["p95_ms"].map("95 % within {:,.0f} ms".format)
    return Sentence(
        f"At {offered[NO_LIMIT]:,.0f} writes/s, several times what it can take: "
        f"without a limit {words[NO_LIMIT]}; with it {words[LIMIT]}."
    )


def with_limit(capacity: float, limit: str, seconds: float = 2.0, folder: Path | None = None) -> dict[str, Any]:
    """Offer TIMES `capacity` writes a second to a server with this limit; the columns of `overload`, of one row.

    Raises `RunError` and `ProgramError`.
    """
    load = Load("writes", users=USERS, seconds=seconds, warmup=1.0, rate=TIMES * capacity, fast=True)
    rows = _measure({LIMIT: ({**SETTINGS, "write_limit": limit}, load)}, folder or new_folder("limit"))
    return {str(name): value for name, value in rows.loc[LIMIT].items()}


def callers(capacity: float, seconds: float = 3.0, folder: Path | None = None) -> pd.DataFrame:
    """Let CALLERS store message after message on a server with a limit; a row for each way to take a refusal.

    Columns as of `overload`, and requests_per_message (how many were sent for each message that was stored) and
    server_us (the server's processor time for each message that was stored, in microseconds).
    """
    settings = {**SETTINGS, "write_limit": limit_for(capacity)}
    load = Load("writes", users=CALLERS, seconds=seconds, warmup=1.0, fast=True)
    loads = {INSIST: load, WAIT: replace(load, scenario="patient")}
    return _measure({name: (settings, each) for name, each in loads.items()}, folder or new_folder("callers"))


def figure(rows: pd.DataFrame) -> Figure:
    """A dot for each write of `overload` that was stored: when it was due, and how long that took."""
    drawn, axes = charts.figure()
    for name, colour in charts.colours(list(rows.index)).items():
        stored = Run(Path(str(rows.loc[name, "folder"]))).measured.query("outcome == @OK")
        axes.plot(stored["due_s"], stored["from_due_ms"], ".", color=colour, markersize=2, alpha=0.4, label=name)
    axes.axhline(IN_TIME_MS, color=charts.GREY, linestyle=":")
    axes.set(
        xlabel="due, seconds into the overload", ylabel="ms until stored (logarithmic)", yscale="log", xlim=(0, None)
    )
    charts.plain_ticks(axes, "y")
    axes.legend(frameon=False, markerscale=6, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title("how long a write takes (a dot for each that was stored; dotted: too late)", loc="left")
    return drawn


def _measure(cases: Mapping[str, tuple[Mapping[str, Any], Load]], folder: Path) -> pd.DataFrame:
    rows = {}
    with (
        targets_of({name: settings for name, (settings, _) in cases.items()}, messages=0) as targets,
        progress.bar(" and ".join(cases), len(cases), unit=" runs") as bar,
    ):
        for name, (settings, load) in cases.items():
            with targets[name].running() as server:
                processes = watch.behind(server.url).roles["server"]
                before = _memory(processes)
                run(load, server.url, folder / name, settings, title=f"overload, {name}", pid=server.pid)
                grown = _memory(processes) - before
            rows[name] = _row(Run(folder / name), load) | {"memory_mb": grown, "folder": folder / name}
            bar.update()
    return pd.DataFrame.from_dict(rows, orient="index")


def _row(measured: Run, load: Load) -> dict[str, Any]:
    found, requests = summarize(measured), measured.measured
    stored = requests[requests["outcome"] == OK]
    return {
        "offered_per_s": len(requests) / load.seconds,
        "stored_per_s": found["requests_per_s"],
        "in_time_per_s": int((stored["from_due_ms"] <= IN_TIME_MS).sum()) / load.seconds,
        "requests_per_message": len(requests) / max(1, len(stored)),
        **{name: found[name] for name in ("p50_ms", "p95_ms", "refused_per_s", "server_us", "void")},
    }


def _memory(processes: list[psutil.Process]) -> float:
    """The resident memory of `processes`, in MB."""
    return sum(each.memory_info().rss for each in processes) / 1e6
