"""The tasks of notebook 04: a stale cache, made on purpose and caught."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import requests

from harness.servers import direct_session
from loadtests import service, staleness
from notebooks.your_turn.verdict import Verdict, not_yet, right, task

MESSAGES = 4
STALE_MS = 100.0
TIMEOUT = 10.0

Headers = Callable[[requests.Response], Mapping[str, str]]


@task('the settings of a server, such as {"cache": "off"}: see python -m server --help')
def stale(settings: Mapping[str, Any]) -> Verdict:
    """Whether a service with these settings shows another process's messages late."""
    rows = staleness.staleness({"yours": settings}, MESSAGES)
    hidden = float(rows.loc[~rows["with_seen"], "visible_ms"].median())
    if hidden < STALE_MS:
        hint = "this list is as new as it can be; which --cache is not told of another process's writes?"
        return not_yet(f"another process shows a message after {hidden:.0f} ms (median)", hint)
    return right(f"another process shows a message only after {hidden:.0f} ms (median)")


@task('a function of the answer to the write: lambda written: {"name of a header": …}')
def caught(headers: Headers) -> Verdict:
    """Whether a reader who sends what `headers` makes of the answer to a write sees what was written, at once."""
    with _two_servers() as (session, writer, reader):
        missed = sum(_is_missed(session, writer, reader, headers) for _ in range(MESSAGES))
    if missed:
        hint = "the answer to a write says in Lab-Seen what it has stored; a read that sends it on gets all of that"
        return not_yet(f"{missed} of {MESSAGES} reads did not show what had just been written", hint)
    return right(f"{MESSAGES} of {MESSAGES} reads showed what had just been written, from a stale cache")


@contextmanager
def _two_servers() -> Iterator[tuple[requests.Session, str, str]]:
    """A session, and the addresses of two processes on one database, whose lists may be a second old."""
    with service.scratch_database("your_turn") as (uri, database), ExitStack() as running:
        servers = [service.running(mongodb_uri=uri, database=database, cache="ttl") for _ in range(2)]
        writer, reader = (running.enter_context(server).url for server in servers)
        yield running.enter_context(direct_session()), writer, reader


def _is_missed(session: requests.Session, writer: str, reader: str, headers: Headers) -> bool:
    session.get(f"{reader}/messages", timeout=TIMEOUT)  # fills its cache
    written = session.post(f"{writer}/messages", json={"text": "Can you see this?"}, timeout=TIMEOUT)
    read = session.get(f"{reader}/messages", headers=headers(written), timeout=TIMEOUT)
    return written.json()["id"] not in [each["id"] for each in read.json()["messages"]]
