"""Profile settings of the service under the same load, in rounds of their own.

py-spy pauses the server for each sample, so these rounds say where time goes, never how fast it is:
their rates are not compared with anything. Each sample is divided by the requests that were answered
meanwhile, because two settings answer different numbers of them in the same time.
"""

import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness import progress, watch
from loadtests.experiment import Variants, in_turn, servers, targets_of
from loadtests.folders import new_folder
from loadtests.ingest import Run
from loadtests.intervals import Difference, holm, paired_difference, paired_ratio
from loadtests.run import Load, run, until_loaded
from loadtests.summary import summarize
from loadtests.targets import Running
from profiles import stacks
from profiles.record import ProfilerError, record

SYSTEM = "system calls"
WAITING = "waiting"
MARGIN_SECONDS = 2.0


class Behind(ProfilerError):
    """py-spy took fewer samples than it was asked for: those it took are not a fair choice."""


@dataclass(frozen=True)
class Profiles:
    """Where the time went in each of `variants`.

    `breakdown` has a row for each round, variant and category: round (from 1), variant, category (of
    `stacks.ORDER`, then SYSTEM and WAITING), us_per_request, share (of the clock). `stacks` has a row for each round,
    variant and stack: stack (as of `stacks.functions`), us_per_request. `waits` is what
    threads waited for: round, variant, reason (of `stacks.WAITS`), threads (how many did at a time).
    `overhead` has server_us and p50_ms of each round and variant, `plain` and `profiled`. `void` tells
    which recordings were left out, and why. `folders` holds the run folder of each (round, variant).
    """

    load: Load
    variants: tuple[str, ...]
    breakdown: pd.DataFrame = field(repr=False)
    folders: dict[tuple[int, str], Path] = field(repr=False)
    stacks: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)
    waits: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)
    overhead: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)
    void: tuple[str, ...] = ()

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

    def changes(self) -> pd.DataFrame:
        """What each function itself takes for a request, and how that changed from the first variant to the last.

        A row for each function, the largest change first: function, the two variants, change, low and
        high (its 95 % interval, over the rounds), in microseconds, and what: appeared, vanished, grew,
        shrank, or "" where the change is not clear, as one of as many functions (Holm's correction).
        """
        base, other = self.variants[0], self.variants[-1]
        own = self.stacks.assign(function=self.stacks["stack"].str.rpartition(";")[2])
        rounds = own.pivot_table("us_per_request", "function", ["variant", "round"], aggfunc="sum", fill_value=0.0)
        # In a round without stacks nothing of the server was at work in Python when py-spy looked: all took no time.
        recorded = pd.concat([self.breakdown, self.stacks])[["variant", "round"]].drop_duplicates()
        rounds = rounds.reindex(columns=pd.MultiIndex.from_frame(recorded), fill_value=0.0)
        both = sorted(set(rounds[base]) & set(rounds[other]))
        pairs = {name: (row[base][both].to_numpy(), row[other][both].to_numpy()) for name, row in rounds.iterrows()}
        changes = {name: paired_difference(*pair) for name, pair in pairs.items()}
        clear = holm({name: change.p for name, change in changes.items()})
        rows = []
        for name, change in changes.items():
            means = dict(zip((base, other), (values.mean() for values in pairs[name]), strict=True))
            interval = {"change": change.value, "low": change.low, "high": change.high}
            what = _what(change, *means.values()) if clear[name] else ""
            rows.append({"function": name} | means | interval | {"what": what})
        table = pd.DataFrame(rows).sort_values("change", key=abs, ascending=False)
        return table.set_index("function")

    def waiting(self) -> pd.DataFrame:
        """How many threads waited at a time, mean; a row for each reason, a column for each variant.

        Raises `ProfilerError` if that was not recorded.
        """
        if self.waits.empty:
            raise ProfilerError("what the threads waited for was not recorded: call profile(with_waits=True)")
        table = self.waits.pivot_table("threads", "reason", "variant", fill_value=0.0)
        return table.reindex(index=[name for name, _ in stacks.WAITS], columns=list(self.variants)).fillna(0.0)

    def cost_of_profiling(self) -> str:
        """What being recorded cost the server, as one sentence. Raises `ProfilerError` if that was not measured."""
        if self.overhead.empty:
            raise ProfilerError("what recording costs was not measured: call profile(with_overhead=True)")
        ratio = paired_ratio(self.overhead["plain_us"].tolist(), self.overhead["profiled_us"].tolist())
        slower = self.overhead["profiled_p50_ms"].median() / self.overhead["plain_p50_ms"].median()
        return (
            f"While py-spy records, the server uses {ratio} times the processor time for a request, "
            f"and the median request takes {slower:.2f} times as long"
        )


def _what(change: Difference, before: float, after: float) -> str:
    if before == 0 or after == 0:
        return "appeared" if before == 0 else "vanished"
    return "grew" if change.value > 0 else "shrank"


def profile(
    variants: Variants,
    load: Load,
    rounds: int = 3,
    messages: int = 200,
    folder: Path | None = None,
    *,
    with_waits: bool = True,
    with_overhead: bool = True,
) -> Profiles:
    """Record servers with each of the settings in `variants` under `load`, in turns.

    Raises `ProfilerError`; also for variants of several workers, because a recording is of one process.

    In each round every variant runs twice: as it is, unless `with_overhead` is false, to see what recording costs, and
    with a recording of what Python does; in the first round also with one of what the threads wait for, unless
    `with_waits` is false. A recording in which py-spy fell behind is biased, and left out.
    """
    if many := [name for name, each in variants.items() if isinstance(each, Mapping) and each.get("workers", 1) != 1]:
        raise ProfilerError(f"a recording is of one process: profile {', '.join(many)} with workers=1")
    folder = folder or new_folder(f"profile-{load.title}")
    tables: dict[str, list[pd.DataFrame]] = {"breakdown": [], "stacks": [], "waits": [], "overhead": []}
    folders, void = {}, []
    total = len(variants) * (rounds + rounds * with_overhead + with_waits)
    with (
        targets_of(variants, messages) as targets,
        progress.bar(f"profiling {load.title}", total, unit=" runs") as bar,
    ):
        for number in range(1, rounds + 1):
            with servers(targets) as running:
                for name in in_turn(variants, number):
                    recorded, plain = folder / f"{number:02d} {name}", folder / f"{number:02d} {name}, plain"
                    if with_overhead:
                        run(load, running[name].url, plain, title=f"{name}, plain")
                        bar.update()
                    profile_run(running[name], load, recorded, title=f"profile of {name}")
                    bar.update()
                    folders[number, name] = recorded
                    if number == 1 and with_waits:
                        waiting = folder / f"{number:02d} {name}, waiting"
                        profile_run(running[name], load, waiting, title=f"waits of {name}", waiting=True)
                        bar.update()
                        tables["waits"].append(waits(waiting).assign(round=number, variant=name))
                    if with_overhead:
                        tables["overhead"].append(overhead(plain, recorded).assign(round=number, variant=name))
                    try:
                        tables["breakdown"].append(breakdown(recorded).assign(round=number, variant=name))
                        tables["stacks"].append(stacks_per_request(recorded).assign(round=number, variant=name))
                    except Behind as error:
                        void.append(str(error))
    if not any_complete_round(tables["breakdown"], variants):
        raise Behind(f"no round has a recording of every variant that can be trusted: {void[0]}")
    joined = {name: pd.concat(each, ignore_index=True) if each else pd.DataFrame() for name, each in tables.items()}
    return Profiles(load, tuple(variants), folders=folders, void=tuple(void), **joined)


def any_complete_round(tables: Iterable[pd.DataFrame], variants: Iterable[str]) -> bool:
    """Whether a round has all `variants`, as a comparison needs; the tables have the columns `round` and `variant`."""
    found: dict[int, set[str]] = {}
    for each in tables:
        for number, name in zip(each["round"], each["variant"], strict=True):
            found.setdefault(number, set()).add(name)
    return any(names.issuperset(variants) for names in found.values())


def profile_run(
    server: Running, load: Load, folder: Path, title: str = "", *, waiting: bool = False, native: bool = False
) -> Path:
    """Load `server` and record it meanwhile; a run folder with the recording in it.

    It is in `profile.raw` and, for https://www.speedscope.app, in `profile.speedscope.json`; `profile.json` tells
    when it was made, and how well. `waiting` and `native` as for `record`.
    """
    # py-spy takes a moment to attach, and the load has to last until it has finished.
    longer = replace(load, seconds=load.seconds + MARGIN_SECONDS)
    with ThreadPoolExecutor(1) as background:
        running = background.submit(run, longer, server.url, folder, title=title, pid=server.pid)
        until_loaded(folder, running.done)
        time.sleep(load.warmup)
        pid, raw = python_process(server), folder / "profile.raw"
        recording = record(pid, load.seconds, raw, waiting=waiting, native=native)
        running.result()
    (folder / "profile.json").write_text(json.dumps(asdict(recording), indent=2) + "\n")
    scope = stacks.speedscope(stacks.read(folder / "profile.raw"), title or folder.name, recording.rate)
    (folder / "profile.speedscope.json").write_text(json.dumps(scope))
    return folder


def python_process(server: Running) -> int:
    """The pid of the process to record: of those that answer at the server's URL, the one that has worked most."""
    found = watch.behind(server.url).roles["server"]
    if not found:
        raise ProfilerError(f"no server of this machine and this user listens at {server.url}")
    return max(found, key=watch.cpu_seconds).pid


def breakdown(folder: Path) -> pd.DataFrame:
    """Where the time of a profiled run went; a row for each category: category, us_per_request, share.

    Python's time comes from the samples. System calls are the processor time the server used beyond
    it; waiting is the rest of the clock. Raises `Behind` if py-spy did not keep up.
    """
    rows, made = _recorded(folder)
    sampled = rows.groupby("category")["samples"].sum() / made.rate
    spent = sampled.copy()
    spent[SYSTEM] = max(0.0, Run(folder).cpu_seconds(made.begin, made.end)["server"] - sampled.sum())
    spent[WAITING] = max(0.0, made.end - made.begin - spent.sum())
    return pd.DataFrame(
        {
            "category": spent.index,
            "us_per_request": spent.to_numpy() * 1e6 / made.requests,
            "share": spent.to_numpy() / (made.end - made.begin),
        }
    )


def stacks_per_request(folder: Path) -> pd.DataFrame:
    """The stacks of a profiled run: stack (functions, outermost first, separated by `;`), us_per_request.

    Raises `Behind`.
    """
    rows = lines_per_request(folder)
    return rows.groupby(rows["stack"].map(stacks.functions))["us_per_request"].sum().reset_index()


def lines_per_request(folder: Path) -> pd.DataFrame:
    """The stacks as they were sampled, with files and lines: stack (as of `stacks.read`), us_per_request.

    Raises `Behind`. No row where nothing was sampled, as of a server that did no work in Python meanwhile.
    """
    rows, made = _recorded(folder)
    return rows.assign(us_per_request=rows["samples"] * 1e6 / made.rate / made.requests)[["stack", "us_per_request"]]


def waits(folder: Path) -> pd.DataFrame:
    """What the threads of a run waited for, recorded with `waiting`: reason, threads (how many at a time, mean).

    A biased recording is good enough here: it is of the threads that do not run.
    """
    recording = _recording(folder)
    rows = stacks.read(folder / "profile.raw")
    reasons = pd.Series([stacks.waits_for(stack) for stack in rows["stack"]], dtype=str)
    threads = rows["samples"].groupby(reasons).sum() / (recording["rate"] * recording["seconds"])
    threads = threads.drop("", errors="ignore")
    return pd.DataFrame({"reason": threads.index, "threads": threads.to_numpy()})


def overhead(plain: Path, recorded: Path) -> pd.DataFrame:
    """What the server used, and how long requests took, in a run as it is and while it was recorded; one row."""
    made = _made(recorded)
    answered = Run(recorded).answered(made.begin, made.end)
    used = Run(recorded).cpu_seconds(made.begin, made.end)["server"]
    before = summarize(Run(plain))
    return pd.DataFrame(
        {
            "plain_us": [before["server_us"]],
            "profiled_us": [used * 1e6 / made.requests],
            "plain_p50_ms": [before["p50_ms"]],
            "profiled_p50_ms": [answered.loc[answered["outcome"] == "ok", "from_due_ms"].median()],
        }
    )


@dataclass(frozen=True)
class _Made:
    """When a recording was made, in the run's seconds; its samples a second; the requests that succeeded meanwhile."""

    begin: float
    end: float
    rate: float
    requests: int


def _recording(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "profile.json").read_text()))


def _made(folder: Path) -> _Made:
    recording = _recording(folder)
    begin = recording["began"] - Run(folder).began
    end = begin + recording["seconds"]
    succeeded = int((Run(folder).answered(begin, end)["outcome"] == "ok").sum())
    return _Made(begin, end, recording["rate"], max(1, succeeded))


def _recorded(folder: Path) -> tuple[pd.DataFrame, _Made]:
    if _recording(folder)["behind"]:
        raise Behind(f"py-spy fell behind while it recorded {folder}: the profile is biased, take it again")
    return stacks.read(folder / "profile.raw"), _made(folder)
