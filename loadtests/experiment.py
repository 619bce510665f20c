"""Run a comparison: the same load on servers with different settings, in interleaved rounds."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from harness import progress
from loadtests import service
from loadtests.comparison import ASKED, Comparison
from loadtests.folders import new_folder
from loadtests.ingest import Run
from loadtests.intervals import ENOUGH_PAIRS
from loadtests.run import Load, run
from loadtests.summary import summarize
from loadtests.targets import Running, Target

# What is compared, by name: targets, or settings of the lab's own service, as `service.running` takes them.
Variants = Mapping[str, Target | Mapping[str, Any]]
# Requests a second that a slow laptop's server and load generator both take with ease.
RATE = 200.0


def compare(
    variants: Variants,
    load: Load | str,
    rounds: int = ENOUGH_PAIRS,
    messages: int = 200,
    folder: Path | None = None,
    asked: str = ASKED,
) -> Comparison:
    """Load each of `variants` in turns, `rounds` times, and compare what was measured.

    `load` may be the name of a scenario: then it is offered at RATE, which spares the load generator.
    Every round starts new servers, because two processes with the same settings differ a little for as
    long as they live, and many rounds on the same two would mistake that for a difference of settings.
    Only one of them is loaded at a time. Every other round goes through them in reverse order (A B, B A, …), so that a
    machine that grows slower or faster favours none. `asked` is the metric that is asked about: see `Comparison`.
    Variants of the lab's own service share one database that holds `messages` messages. Run folders go to `folder`,
    else to a new one under RUNS. Raises `RunError` and `ProgramError`.
    """
    load = Load(load, rate=RATE) if isinstance(load, str) else load
    folder = folder or new_folder(f"compare-{load.title}")
    rows = []
    about = f"comparing {load.title}"
    with targets_of(variants, messages) as targets, progress.bar(about, rounds * len(targets), unit=" runs") as bar:
        for number in range(1, rounds + 1):
            with servers(targets) as running:
                for name in in_turn(variants, number):
                    bar.set_description(f"{about}, round {number} of {rounds}, {name}")
                    run_folder = folder / f"{number:02d} {name}"
                    title = f"{load.title}, {name}"
                    run(load, running[name].url, run_folder, targets[name].settings, title, running[name].pid)
                    rows.append({"round": number, "variant": name, "folder": run_folder} | summarize(Run(run_folder)))
                    bar.update()
        bar.set_description(about)
    return Comparison(load, tuple(variants), pd.DataFrame(rows), asked)


def in_turn(variants: Variants, number: int) -> list[str]:
    """The order of the variants in round `number`: forth in the odd ones, back in the even ones."""
    return list(variants) if number % 2 else list(reversed(list(variants)))


@contextmanager
def targets_of(variants: Variants, messages: int = 200) -> Iterator[dict[str, Target]]:
    """The targets of `variants`, in which settings become servers of the lab's own service.

    These have a new database that holds `messages` messages, and that is dropped afterwards.
    """
    settings = {name: each for name, each in variants.items() if isinstance(each, Mapping)}
    targets = {name: each for name, each in variants.items() if not isinstance(each, Mapping)}
    with ExitStack() as stack:
        ours = stack.enter_context(service.targets(settings, messages)) if settings else {}
        yield {name: ours[name] if name in ours else targets[name] for name in variants}


@contextmanager
def servers(targets: Mapping[str, Target]) -> Iterator[dict[str, Running]]:
    """A server of each of `targets`, while the block runs. They are started at once, and stopped at once."""
    with ThreadPoolExecutor(len(targets)) as threads:
        managers = {name: target.running() for name, target in targets.items()}
        started = {name: threads.submit(manager.__enter__) for name, manager in managers.items()}
        entered = [managers[name] for name, each in started.items() if each.exception() is None]
        try:
            yield {name: each.result() for name, each in started.items()}
        finally:
            for ended in [threads.submit(manager.__exit__, None, None, None) for manager in entered]:
                ended.result()
