"""Run a comparison: the same load on servers with different settings, in interleaved rounds."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from harness.servers import Server
from loadtests import ingest, scenarios, service
from loadtests.comparison import Comparison
from loadtests.folders import new_folder
from loadtests.intervals import ENOUGH_PAIRS
from loadtests.run import Load, run

# The settings of the server of each variant, by the variant's name: as `service.running` takes them.
Variants = Mapping[str, Mapping[str, Any]]
# Requests a second that a slow laptop's server and load generator both take with ease.
RATE = 200.0


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
