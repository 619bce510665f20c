"""Compare settings of the service: the same load on each, in interleaved rounds."""

import secrets
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from harness.servers import Server
from loadtests import ingest, scenarios, service
from loadtests.intervals import ENOUGH_PAIRS, Ratio, paired_ratio
from loadtests.run import Load, run

# What each variant is called, and the settings of its server: as `service.running` takes them.
Variants = Mapping[str, Mapping[str, Any]]
# Requests a second that a slow laptop's server and load generator both take with ease.
RATE = 200.0

RUNS = Path(__file__).parents[1] / ".lab" / "runs"


@dataclass(frozen=True)
class Metric:
    """A column of a comparison: what it is called, its unit, and whether a busy load generator spoils it."""

    name: str
    unit: str
    spoilt_by_generator: bool = True


# The first holds even when the load generator is the limit. Latency is from when a request was due.
METRICS = {
    "server_us": Metric("server CPU", "µs per request", spoilt_by_generator=False),
    "mongod_us": Metric("mongod CPU", "µs per request", spoilt_by_generator=False),
    "requests_per_s": Metric("throughput", "requests/s"),
    "p50_ms": Metric("median latency", "ms"),
    "p95_ms": Metric("95th percentile of latency", "ms"),
    "p99_ms": Metric("99th percentile of latency", "ms"),
}


@dataclass(frozen=True)
class Comparison:
    """What the rounds of a comparison measured.

    `rounds` has a row for each round and variant: round (from 1), variant, folder, and the columns of
    `ingest.summary`. The first of `variants` is what the others are compared with.
    """

    load: Load
    variants: tuple[str, ...]
    rounds: pd.DataFrame = field(repr=False)

    def values(self, metric: str) -> pd.DataFrame:
        """A metric with a row for each round and a column for each variant; void values are missing."""
        reasons = "void" if METRICS[metric].spoilt_by_generator else "lost"
        rows = self.rounds.assign(**{metric: self.rounds[metric].where(self.rounds[reasons] == "")})
        return rows.pivot(index="round", columns="variant", values=metric).reindex(columns=list(self.variants))

    def ratio(self, metric: str, variant: str | None = None) -> Ratio | None:
        """How many times the first variant's value `variant`'s is; None if too few rounds can tell."""
        base, other = self.variants[0], variant or self.variants[-1]
        pairs = self.values(metric)[[base, other]].dropna()
        pairs = pairs[(pairs > 0).all(axis=1)]
        return paired_ratio(pairs[base].tolist(), pairs[other].tolist()) if len(pairs) > 1 else None

    def verdict(self, metric: str, variant: str | None = None) -> str:
        """What the rounds allow to be said, as one sentence."""
        base, other = self.variants[0], variant or self.variants[-1]
        about = METRICS[metric]
        ratio = self.ratio(metric, variant)
        if ratio is None:
            return f"{about.name}: not quoted, {self._why_void()}"
        if not ratio.differs:
            said = (
                f"{about.name}: no difference shown between {base} and {other} "
                f"({ratio}; one of {ratio.visible:.0%} would have been)"
            )
        else:
            said = f"{about.name}: {other} is {ratio} times {base}"
        return said if ratio.pairs >= ENOUGH_PAIRS else f"{said}; a first look, from {ratio.pairs} pairs"

    def evidence(self, metric: str) -> str:
        """What a verdict rests on, as one sentence."""
        ratio = self.ratio(metric)
        if ratio is None:
            return f"not at all: {self._why_void()}"
        void = int((self.rounds["void"] != "").sum())
        return (
            f"{ratio.pairs} pairs of runs in turns, each on new servers; {void} of {len(self.rounds)} runs are void; "
            f"a change in {METRICS[metric].name} of {ratio.visible:.0%} would have been seen 4 times in 5"
        )

    def table(self) -> pd.DataFrame:
        """A row for each metric: the median of each variant, the ratio with its interval, the verdict.

        Beside the ratio stands the smallest change that these rounds would have shown (4 times in 5).
        """
        rows = []
        for metric, about in METRICS.items():
            ratio = self.ratio(metric)
            rows.append(
                {
                    "metric": f"{about.name}, {about.unit}",
                    **{name: f"{median:,.1f}" for name, median in self.values(metric).median().items()},
                    "ratio [95 % interval]": str(ratio or "–"),
                    "would show": f"{ratio.visible:.0%}" if ratio else "–",
                    "verdict": self.verdict(metric),
                }
            )
        return pd.DataFrame(rows).set_index("metric")

    def _why_void(self) -> str:
        void = self.rounds[self.rounds["void"] != ""]
        if void.empty:
            return "there is nothing to compare"
        return f"{len(void)} of {len(self.rounds)} runs are void ({void['void'].iloc[0]})"


def compare(
    variants: Variants, load: Load | str, rounds: int = ENOUGH_PAIRS, messages: int = 200, folder: Path | None = None
) -> Comparison:
    """Put `load` on servers with each of the settings in `variants`, in turns, `rounds` times each.

    `load` may be the name of a scenario: then it is offered at RATE, which spares the load generator.
    Every round starts new servers, because two processes with the same settings differ a little for as
    long as they live, and many rounds on the same two would mistake that for a difference of settings.
    Only one of them is loaded at a time, on one database that holds `messages` messages. Every other
    round goes through them in reverse order (A B, B A, …), so that a machine that grows slower or
    faster favours none. Run folders go to `folder`, else to a new one under RUNS.
    """
    load = Load(load, rate=RATE) if isinstance(load, str) else load
    folder = folder or new_folder(f"compare-{load.scenario}")
    rows = []
    with database(messages) as place, tqdm(total=rounds * len(variants), leave=False, disable=None) as bar:
        for number in range(1, rounds + 1):
            with servers(variants, place) as running:
                for name in in_turn(variants, number):
                    bar.set_description(f"round {number} of {rounds}, {name}")
                    run_folder = folder / f"{number:02d} {name}"
                    run(load, running[name].url, run_folder, dict(variants[name]), title=f"{load.scenario}, {name}")
                    rows.append({"round": number, "variant": name, "folder": run_folder} | ingest.summary(run_folder))
                    bar.update()
    return Comparison(load, tuple(variants), pd.DataFrame(rows))


def in_turn(variants: Variants, number: int) -> list[str]:
    """The order of the variants in round `number`: forth in the odd ones, back in the even ones."""
    return list(variants) if number % 2 else list(reversed(list(variants)))


@contextmanager
def database(messages: int = 200) -> Iterator[Mapping[str, Any]]:
    """A new database that holds `messages` messages, dropped afterwards; gives the settings that name it."""
    with service.scratch_database("experiment") as (uri, name):
        place: dict[str, Any] = {"mongodb_uri": uri, "database": name}
        with service.running(**place) as plain:
            scenarios.prepare(plain.url, messages)
        yield place


@contextmanager
def servers(variants: Variants, place: Mapping[str, Any]) -> Iterator[dict[str, Server]]:
    """A server for each of `variants` at `place` (see `database`), while the block runs."""
    with ExitStack() as stack, ThreadPoolExecutor(len(variants)) as starters:
        managers = {name: service.running(**{**place, **settings}) for name, settings in variants.items()}
        started = {name: starters.submit(manager.__enter__) for name, manager in managers.items()}
        for name, manager in managers.items():
            if started[name].exception() is None:
                stack.push(manager)
        yield {name: each.result() for name, each in started.items()}


def new_folder(name: str) -> Path:
    """A folder for results that does not exist yet, named after the time and `name`."""
    return RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{secrets.token_hex(4)}"
