"""The loads of `make bench`: functions that load the server at a URL for some seconds, and return a Sample."""

import asyncio
import json
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import processes, progress, watch
from loadtests import open_loop, wrk
from loadtests.ingest import Run
from loadtests.run import Load, run
from loadtests.summary import summarize

WRITE_LIMIT = 500
QUOTA, BELOW_QUOTA = 100, 90
WELL_BEHAVED, GREEDY = "key-of-the-well-behaved", "key-of-the-greedy"
# More requests/s than a load generator in Python can send.
UNREACHABLE = 100_000.0
CREATED, TOO_MANY, SHEDDING = 201, 429, 503


@dataclass(frozen=True)
class Sample:
    """What one load measured: `values` by metric, and why they do not count (`void`, "" if they do).

    `late` says that the load generator could not keep up, "" if it did: such a round can be repeated.
    """

    values: dict[str, float]
    void: str = ""
    late: str = ""


LoadFunction = Callable[[str, float], Sample]


def reads(url: str, seconds: float) -> Sample:
    """64 connections that read the 20 newest messages."""
    return _of_wrk(wrk.run(f"{url}/messages?limit=20", seconds))


def differing_reads(url: str, seconds: float) -> Sample:
    """The same, but no two requests have the same head: nothing that was remembered of one helps with another."""
    return _of_wrk(wrk.run(f"{url}/messages?limit=20", seconds, sends="read with differing heads"))


def client_reads(url: str, seconds: float) -> Sample:
    """The same with the heads of our own client."""
    return _of_wrk(wrk.run(f"{url}/messages?limit=20", seconds, sends="read with the client's heads"))


def keyed_writes(url: str, seconds: float) -> Sample:
    """64 connections that send messages, each with an Idempotency-Key of its own."""
    return _of_wrk(wrk.run(f"{url}/messages", seconds, sends="post with keys"))


def writes(url: str, seconds: float, connections: int = 64) -> Sample:
    """Connections that send messages."""
    return _of_wrk(wrk.run(f"{url}/messages", seconds, connections, sends="post"))


def one_writer(url: str, seconds: float) -> Sample:
    """One connection that sends messages."""
    return writes(url, seconds, connections=1)


def reads_beside_writes(url: str, seconds: float) -> Sample:
    """`reads`, while others send 500 messages a second. The sending begins first, and ends last."""
    url_of_writes = f"{url}/messages"

    async def both() -> tuple[Sample, open_loop.OpenLoopResult]:
        writing = asyncio.create_task(open_loop.offer(url_of_writes, open_loop.post(url_of_writes), 500, seconds + 1))
        await asyncio.sleep(1.0)
        return await asyncio.to_thread(reads, url, seconds), await writing

    read, written = open_loop.run(both())
    return Sample(
        read.values | {"written_per_s": written.per_s(CREATED), "write_p99_ms": written.p99_ms(CREATED)},
        read.void or written.void(CREATED),
        written.late(),
    )


def writes_below_the_limit(url: str, seconds: float) -> Sample:
    """Messages at 80 % of the write limit."""
    return _of_writers(url, 0.8 * WRITE_LIMIT, seconds, CREATED)


def writes_above_the_limit(url: str, seconds: float) -> Sample:
    """Messages at 5 times the write limit. To be refused is the point."""
    return _of_writers(url, 5.0 * WRITE_LIMIT, seconds, CREATED, TOO_MANY, SHEDDING)


def well_behaved_alone(url: str, seconds: float) -> Sample:
    """A caller a little below its quota."""
    return open_loop.run(_callers(url, seconds, greedy=False))


def well_behaved_beside_greedy(url: str, seconds: float) -> Sample:
    """The same caller beside one that offers 50 times its own quota."""
    return open_loop.run(_callers(url, seconds, greedy=True))


def first_requests(url: str, seconds: float) -> Sample:
    """Resident memory after 10,000 requests, 3 reads to a write. Takes as long as it takes."""
    return _memory_after(url, 10_000)


def a_million_requests(url: str, seconds: float) -> Sample:
    """Resident memory after 990,000 more."""
    return _memory_after(url, 990_000)


def fast_http_users(url: str, seconds: float) -> Sample:
    """64 of Locust's FastHttpUser, in one process, reading as fast as they are answered."""
    command = [sys.executable, "-m", "locust", "--locustfile", str(Path(__file__).with_name("fast_http_users.py"))]
    command += ["--headless", "--host", url, "--users", "64", "--spawn-rate", "64"]
    command += ["--run-time", f"{math.ceil(seconds)}s", "--only-summary", "--loglevel", "ERROR"]
    said = processes.run(command)
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    void = (
        f"{found['failed']} requests failed" if found["failed"] else "" if found["requests"] else "nothing was answered"
    )
    return Sample({"requests_per_s": found["requests"] / max(found["seconds"], 1e-3)}, void)


def fast_users(url: str, seconds: float) -> Sample:
    """64 of our users on raw sockets, in one process, with their log, as fast as they are answered."""
    return _of_locust(url, Load("reads", users=64, seconds=seconds, fast=True))


def fast_users_on_schedule(url: str, seconds: float) -> Sample:
    """The same at a rate that they can just not reach, each request on schedule."""
    return _of_locust(url, Load("reads", users=64, seconds=seconds, fast=True, rate=UNREACHABLE))


def _of_locust(url: str, load: Load) -> Sample:
    with tempfile.TemporaryDirectory(prefix="backend-lab-") as folder:
        summary = summarize(Run(run(load, url, Path(folder) / "run")))
    # That the generator is the limit is the point; whatever was not answered with success is not.
    bad = summary["failed_per_s"] + summary["refused_per_s"] + summary["unanswered_per_s"]
    void = summary["lost"] or (f"{bad:.0f} requests/s failed" if bad else "")
    return Sample({"requests_per_s": summary["requests_per_s"]}, void)


def _of_wrk(measured: wrk.Result) -> Sample:
    return Sample({name: float(value) for name, value in asdict(measured).items()}, measured.void)


def _of_writers(url: str, rate: float, seconds: float, *expected: int) -> Sample:
    address = f"{url}/messages"
    offered = open_loop.run(open_loop.offer(address, open_loop.post(address), rate, seconds))
    return Sample(_of_caller(offered), offered.void(*expected), offered.late())


def _of_caller(offered: open_loop.OpenLoopResult) -> dict[str, float]:
    return {
        "offered_per_s": len(offered.requests) / offered.seconds,
        "admitted_per_s": offered.per_s(CREATED),
        "refused_per_s": offered.per_s(TOO_MANY),
        "p99_ms": offered.p99_ms(CREATED),
    }


async def _callers(url: str, seconds: float, greedy: bool) -> Sample:
    address = f"{url}/messages"
    offers = [open_loop.offer(address, open_loop.post(address, WELL_BEHAVED), BELOW_QUOTA, seconds)]
    if greedy:
        offers.append(open_loop.offer(address, open_loop.post(address, GREEDY), 50 * QUOTA, seconds))
    behaved, *others = await asyncio.gather(*offers)
    # Beside the greedy caller whatever happens to the other is the result, so long as the generator kept up.
    void = "" if greedy else behaved.void(CREATED)
    beside = {f"greedy_{name}": value for each in others for name, value in _of_caller(each).items()}
    late = next(filter(None, (each.late() for each in (behaved, *others))), "")
    return Sample(_of_caller(behaved) | beside, void, late)


def _memory_after(url: str, requests: int) -> Sample:
    served_by = watch.behind(url).roles["server"]
    answered, void = 0, ""
    with progress.bar("requests", requests, unit_scale=True) as bar:
        while answered < requests and not void:
            measured = wrk.run(f"{url}/messages?limit=20", 1 if requests < 100_000 else 5, sends="mixed")
            answered, void = answered + measured.requests, measured.void
            bar.update(measured.requests)
    resident = sum(process.memory_info().rss for process in served_by) / 2**20
    return Sample({"requests": float(answered), "rss_mib": resident}, void)
