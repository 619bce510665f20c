"""Profile settings of the service under the same load, in rounds of their own.

py-spy pauses the server for each sample, so these rounds say where time goes, never how fast it is:
their rates are not compared with anything. Each sample is divided by the requests that were answered
meanwhile, because two settings answer different numbers of them in the same time.
"""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd

from loadtests import ingest
from loadtests.experiment import Variants, new_folder, servers
from loadtests.run import Load, run
from profiles import stacks
from profiles.record import ProfilerError, record
from server.launch import RunningServer

SYSTEM = "system calls"
WAITING = "waiting"
START_SECONDS = 30.0
MARGIN_SECONDS = 3.0


@dataclass(frozen=True)
class Profiles:
    """Where the time went in each of `variants`.

    `breakdown` has a row for each round, variant and category: round (from 1), variant, category (of
    `stacks.ORDER`, then SYSTEM and WAITING), us_per_request, share (of the clock). `folders` holds the
    run folder of each (round, variant).
    """

    load: Load
    variants: tuple[str, ...]
    breakdown: pd.DataFrame = field(repr=False)
    folders: dict[tuple[int, str], Path] = field(repr=False)

    def table(self) -> pd.DataFrame:
        """Mean microseconds for each request; a row for each category, a column for each variant."""
        rows = self.breakdown[self.breakdown["category"] != WAITING]
        # A category that a round does not show took no time in it.
        every_round = rows.pivot_table("us_per_request", "category", ["variant", "round"], fill_value=0.0, sort=False)
        table = every_round.T.groupby(level="variant").mean().T[list(self.variants)]
        return table.reindex([name for name in [*stacks.ORDER, SYSTEM] if name in table.index])

    def shares(self) -> pd.DataFrame:
        """Mean share of the clock in Python, in system calls and waiting; a column for each variant."""
        kind = self.breakdown["category"].where(self.breakdown["category"].isin([SYSTEM, WAITING]), "Python")
        summed = self.breakdown.assign(kind=kind).groupby(["round", "variant", "kind"])["share"].sum()
        table = summed.groupby(["kind", "variant"]).mean().unstack("variant")
        return table.reindex(index=["Python", SYSTEM, WAITING], columns=list(self.variants))

    def largest_change(self) -> str:
        """The category that changed most between the first variant and the last, as one sentence."""
        base, other = self.variants[0], self.variants[-1]
        table = self.table().fillna(0.0)
        change = table[other] - table[base]
        name = str(change.abs().idxmax())
        word = "less" if change[name] < 0 else "more"
        return f"{other} spends {abs(change[name]):,.0f} µs {word} in {name} for each request than {base}"


def profile(
    variants: Variants, load: Load, rounds: int = 2, messages: int = 200, folder: Path | None = None
) -> Profiles:
    """Record a server with each of the settings in `variants` under `load`, in turns. Raises `ProfilerError`."""
    folder = folder or new_folder(f"profile-{load.scenario}")
    rows, folders = [], {}
    with servers(variants, messages) as running:
        for number in range(1, rounds + 1):
            for name in variants if number % 2 else reversed(list(variants)):
                run_folder = folder / f"{number:02d} {name}"
                profile_run(running[name], load, run_folder, title=f"profile of {name}")
                rows.append(breakdown(run_folder).assign(round=number, variant=name))
                folders[number, name] = run_folder
    return Profiles(load, tuple(variants), pd.concat(rows, ignore_index=True), folders)


def profile_run(server: RunningServer, load: Load, folder: Path, title: str = "") -> Path:
    """Load `server` and record it meanwhile; a run folder with `profile.raw` and `profile.json` in it."""
    # py-spy takes a moment to attach, and the load has to last until it has finished.
    longer = replace(load, seconds=load.seconds + MARGIN_SECONDS)
    with ThreadPoolExecutor(1) as background:
        running = background.submit(run, longer, server.url, folder, title=title)
        _wait_for_requests(folder / "requests.csv", running)
        time.sleep(load.warmup)
        recording = record(server.pid, load.seconds, folder / "profile.raw")
        running.result()
    (folder / "profile.json").write_text(json.dumps(asdict(recording), indent=2) + "\n")
    return folder


def _wait_for_requests(log: Path, running: Future[Path]) -> None:
    """Return when Locust has logged its first requests, or has ended."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and not running.done():
        if log.exists() and log.stat().st_size > 0:
            return
        time.sleep(0.02)


def breakdown(folder: Path) -> pd.DataFrame:
    """Where the time of a profiled run went; a row for each category: category, us_per_request, share.

    Python's time comes from the samples. System calls are the processor time the server used beyond
    it; waiting is the rest of the clock. Raises `ProfilerError` if py-spy did not keep up.
    """
    recording = json.loads((folder / "profile.json").read_text())
    if recording["behind"]:
        raise ProfilerError(f"py-spy fell behind while it recorded {folder}: the profile is biased, take it again")
    seconds = recording["seconds"]
    sampled = stacks.read(folder / "profile.raw").groupby("category")["samples"].sum() / recording["rate"]
    begin = recording["began"] - ingest.began(folder)
    requests = (ingest.answered(folder, begin, begin + seconds)["outcome"] == "ok").sum()
    spent = sampled.copy()
    spent[SYSTEM] = max(0.0, ingest.cpu_seconds(folder, begin, begin + seconds)["server"] - sampled.sum())
    spent[WAITING] = max(0.0, seconds - spent.sum())
    return pd.DataFrame(
        {
            "category": spent.index,
            "us_per_request": spent.to_numpy() * 1e6 / max(1, requests),
            "share": spent.to_numpy() / seconds,
        }
    )
