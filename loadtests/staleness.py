"""How old can a list from a cache be? Measured across two processes: one writes, the other is read.

A process that writes knows of its own writes at once. So staleness shows only where another process is read, as behind
a load balancer.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pandas as pd
import requests
from matplotlib.figure import Figure

from harness import progress
from harness.servers import direct_session
from loadtests import charts, service

Variants = Mapping[str, Mapping[str, Any]]

MESSAGES = 12
GIVE_UP_SECONDS = 10.0
TIMEOUT = 10.0


def staleness(variants: Variants, messages: int = MESSAGES) -> pd.DataFrame:
    """Write to one process and read from another, with each of the settings in `variants`; a row for each message.

    Half of the messages are read plainly, half by a reader who sends the `Lab-Seen` of the write's answer. Columns:
    variant; number (from 1); with_seen; missed (whether the first read after the acknowledgement did not show the
    message); visible_ms (from the acknowledgement until a read showed it). Raises `ProgramError`.
    """
    rows, total = [], messages * len(variants)
    with (
        service.scratch_database("staleness") as (uri, database),
        progress.bar("how old lists are", total, unit=" messages") as bar,
    ):
        for name, settings in variants.items():
            for row in _rows({"mongodb_uri": uri, "database": database, **settings}, messages):
                rows.append({"variant": name, **row})
                bar.update()
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """What `staleness` measured; a row for each variant and kind of reader.

    Columns: writes, missed (counts), median_ms and longest_ms (until the other process showed the message).
    """
    readers = rows["with_seen"].map({False: "plain", True: "with Lab-Seen"}).rename("reader")
    grouped = rows.groupby(["variant", readers], sort=False)
    return pd.DataFrame(
        {
            "writes": grouped.size(),
            "missed": grouped["missed"].sum(),
            "median_ms": grouped["visible_ms"].median(),
            "longest_ms": grouped["visible_ms"].max(),
        }
    )


def figure(rows: pd.DataFrame) -> Figure:
    """A dot for each write that was read plainly: how long the other process did not show it."""
    rows = rows[~rows["with_seen"]]
    names = list(dict.fromkeys(rows["variant"]))
    drawn, axes = charts.figure(height=0.6 * len(names) + 1.2)
    colours = charts.colours(sorted(names))  # as in the comparison of off and tail
    for place, name in enumerate(names):
        of_variant = rows[rows["variant"] == name]
        axes.plot(of_variant["visible_ms"], [place] * len(of_variant), "o", color=colours[name], alpha=0.5, label=name)
    axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), xscale="log")
    axes.set_xlabel("from the acknowledgement until another process shows it, ms (logarithmic)")
    charts.plain_ticks(axes)
    axes.set_title("how long a cache hides a message (a dot for each write)", loc="left")
    return drawn


def _rows(settings: Mapping[str, Any], messages: int) -> Iterator[dict[str, Any]]:
    with ExitStack() as running:
        writer, reader = (running.enter_context(service.running(**settings)) for _ in range(2))
        session = running.enter_context(direct_session())
        for number in range(1, messages + 1):
            with_seen = number % 2 == 0
            yield {"number": number, "with_seen": with_seen, **_one_write(session, writer.url, reader.url, with_seen)}


def _one_write(session: requests.Session, writer: str, reader: str, with_seen: bool) -> dict[str, Any]:
    _shown(session, reader)  # fills the cache, as in a service that is read all the time
    written = session.post(f"{writer}/messages", json={"text": "Can you see this?"}, timeout=TIMEOUT)
    written.raise_for_status()
    acknowledged, id = time.monotonic(), written.json()["id"]
    headers = {"Lab-Seen": written.headers["Lab-Seen"]} if with_seen else {}
    reads = 0
    while id not in _shown(session, reader, headers) and time.monotonic() < acknowledged + GIVE_UP_SECONDS:
        reads += 1
    return {"missed": reads > 0, "visible_ms": 1000 * (time.monotonic() - acknowledged)}


def _shown(session: requests.Session, url: str, headers: Mapping[str, str] | None = None) -> list[str]:
    """The ids of the newest messages."""
    answer = session.get(f"{url}/messages", params={"limit": 5}, headers=headers, timeout=TIMEOUT)
    answer.raise_for_status()
    return [message["id"] for message in answer.json()["messages"]]
