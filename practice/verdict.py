"""Server or database: which works longer for each request, and on what evidence that is said."""

from typing import Literal

import pandas as pd

from loadtests.intervals import Ratio, paired_ratio
from practice import where
from practice.measured import Verdict


def verdict(rounds: pd.DataFrame, *, outside: bool, sqlite_us: float | None) -> Verdict:
    """Whether the server or its database works longer for each request, by the rounds of the mix on one server.

    `rounds` has the columns of `summarize`. `outside` says whether the server is connected to something, and
    `sqlite_us` how long a request is inside SQLite, in µs, if that was seen.
    """
    rounds = rounds[(rounds["lost"] == "") & (rounds["requests_per_s"] > 0)]
    if rounds.empty:
        return Verdict(slow="", why="In no round was there anything to measure.")
    server = rounds["server_us"]
    if server.isna().all():
        return Verdict(slow="", why=where.UNSEEN)
    database = database_us(rounds)
    if database.isna().all() and outside:
        why = "The server is connected to something that cannot be seen from here, which may be its database."
        return Verdict(slow="", why=why)
    if database.isna().all():
        why = (
            "No database was seen beside the server, so what keeps the messages (files, SQLite) works inside it, "
            f"and is part of its {server.median():,.0f} µs of processor time for each request."
        )
        if sqlite_us:
            why += f" A request is in SQLite for {sqlite_us:,.0f} µs, waiting for locks and the disk included."
        else:
            why += " From outside the two cannot be told apart."
        return Verdict(slow="server", why=why, inside=True)
    # A database that did nothing in a round still has a ratio then.
    ratio = _paired(database.fillna(0.0).clip(lower=1.0), server)
    words = (
        f"Processor time for each request: {server.median():,.0f} µs of the server, "
        f"{database.median():,.0f} µs of the database;"
    )
    if ratio is None or not ratio.differs:
        return Verdict(slow="", why=f"{words} the rounds show no difference.")
    slow: Literal["server", "database"] = "server" if ratio.value > 1 else "database"
    return Verdict(slow=slow, why=f"{words} the server's is {ratio} times the database's [95 % interval].")


def database_us(rounds: pd.DataFrame) -> "pd.Series[float]":
    """Processor time of the databases behind a server for each request, in µs; NaN where none was seen."""
    used = rounds[["mongod_cores", "database_cores"]].sum(axis=1, min_count=1)
    return 1e6 * used / rounds["requests_per_s"].where(rounds["requests_per_s"] > 0)


def _paired(base: "pd.Series[float]", other: "pd.Series[float]") -> Ratio | None:
    return paired_ratio(base.tolist(), other.tolist()) if len(base) > 1 and (other > 0).all() else None
