"""The evidence as a checklist for people: what to look at, where, what was seen, and what it would mean."""

import pandas as pd

from profiles.diagnose import REFUSED_LIMIT
from profiles.evidence import Evidence


def checklist(seen: Evidence) -> pd.DataFrame:
    """What one looks at to tell the server from the database, in the order in which it excludes most.

    A row for each: look at, where, seen (the value in this run), and what it would mean.
    """
    cores = f"{seen.machine:.0%} of the machine"
    rows = [
        (
            "refused requests",
            "429 in Locust's CSV",
            f"{seen.refused:.1%}",
            f"above {REFUSED_LIMIT:.0%}: the rate limit decides",
        ),
        ("the load generator", "its CPU, its own timers", seen.generator or "had time to spare", "late: void run"),
        ("CPU of the server", "/proc, its busiest process", f"{seen.server_cores:.2f} cores", "near 1: its own work"),
        ("event loop lag", "/metrics", f"{seen.lag_ms:.1f} ms", "many ms: a handler holds the loop, or no CPU is left"),
        ("time in `db`", "Server-Timing, /metrics", f"{seen.database_part:.0%} of the requests' time", "most: go on"),
        ("wait for a connection", "/metrics", f"{seen.pool_ms:.2f} ms", "more than an operation takes: the pool"),
        (
            "operations, by MongoDB",
            "opLatencies",
            f"{seen.inside_ms:.2f} ms",
            "as long as the server waits: it is slow",
        ),
        (
            "a ping by a stranger",
            "a connection of our own",
            f"{seen.probe_ms:.2f} ms",
            "slow too: MongoDB, or the network",
        ),
        ("CPU of mongod", "/proc", f"{seen.mongod_cores:.2f} cores", "all cores: queries or indexes; none: the disk"),
        ("everything together", "/proc", cores, "near 100 %: they take the processor from each other"),
    ]
    return pd.DataFrame(rows, columns=["look at", "where", "seen", "what it would mean"]).set_index("look at")
