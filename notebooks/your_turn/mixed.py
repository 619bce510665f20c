"""The tasks of notebook 06: a scenario, and four bottlenecks."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from loadtests import ingest
from loadtests.run import Load, run
from notebooks.your_turn.verdict import Verdict, not_yet, right, task

LOAD_SECONDS = 2.0
READ, WRITE = "GET /messages", "POST /messages"

# What was measured of four services whose requests take 40 ms, and what it was.
CASES = pd.DataFrame(
    {
        "A": [0.99, 0.10, 0.2, 0.1, 0.4],
        "B": [0.20, 0.15, 38.0, 0.1, 0.5],
        "C": [0.30, 0.20, 38.0, 36.0, 0.6],
        "D": [0.25, 0.95, 38.0, 0.1, 37.0],
    },
    index=[
        "server, cores",
        "mongod, cores",
        "db of Server-Timing, ms",
        "wait for a connection, ms",
        "MongoDB's own clock, ms",
    ],
)
WORDS = ("server", "network", "pool", "database")
_ANSWERS = dict(zip(map(str, CASES), WORDS, strict=True))
_HINTS = {
    "A": "its server uses all of a core, and hardly waits for MongoDB",
    "B": "the driver waits 38 ms, MongoDB works half of one, and nobody waits for a connection: what lies between?",
    "C": "36 of 38 ms are over before MongoDB is asked",
    "D": "by MongoDB's own clock nearly all of the time is MongoDB's",
}


@task("the name of a file and of a table in it, such as 'my_scenarios.py:chat': see docs/any-service.md")
def scenario(name: str, url: str) -> Verdict:
    """Whether the scenario reads three times as often as it writes, and the service at `url` answers all of it."""
    with tempfile.TemporaryDirectory() as folder:
        run(Load(name, users=4, seconds=LOAD_SECONDS), url, Path(folder) / "run")
        requests = ingest.Run(Path(folder) / "run").requests
    counts = requests["name"].value_counts()
    reads, writes = int(counts.get(READ, 0)), int(counts.get(WRITE, 0))
    if failed := int((requests["outcome"] == "failed").sum()):
        return not_yet(f"{failed} of {len(requests)} requests failed", "what does the service say to one of them?")
    if not reads or not writes:
        return not_yet(f"{reads} reads and {writes} writes were sent", f"it has to send {READ} and {WRITE}")
    if not 2 < reads / writes < 4:
        hint = "a table gives each behaviour its weight: {read: 3, write: 1}"
        return not_yet(f"there were {reads / writes:.1f} reads for each write", hint)
    return right(f"{reads} reads and {writes} writes, all of them answered")


@task(f"a word for each service, such as {{'A': 'server', …}}; the words are {', '.join(WORDS)}")
def bottlenecks(said: Mapping[str, str]) -> Verdict:
    """Whether `said` names the bottleneck of each service in CASES."""
    for name, answer in _ANSWERS.items():
        if said.get(name) != answer:
            return not_yet(f"{name} is not {said.get(name, 'nothing')!r}", _HINTS[name])
    return right("all four")
