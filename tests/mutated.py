"""The command `python -m tests.mutated`: many mutated requests on one service, and what they did to it."""

import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import psutil

from loadtests import service
from tests.server.http1 import mutations

CALLERS = 8
GROWTH = 1.1


@click.command(help="Send mutated requests to a service of its own: no 5xx, no traceback, no hang, no growth.")
@click.option("--count", default=50_000, show_default=True, help="How many.")
@click.option("--seed", default=1, show_default=True, help="Which.")
@click.option("--fast-path", type=click.Choice(["on", "off"]), default="on", show_default=True)
def command(count: int, seed: int, fast_path: str) -> None:
    with tempfile.TemporaryDirectory() as folder, service.scratch_database("mutated") as (uri, name):
        log = Path(folder) / "server.log"
        with service.running(log, fast_path=fast_path, mongodb_uri=uri, database=name) as server:
            port = int(server.url.rpartition(":")[2])
            process = psutil.Process(server.pid)
            found: Counter[int] = Counter()
            hung = 0
            sizes = []
            for part in range(10):
                data = mutations.requests(seed + part, count // 10)
                with ThreadPoolExecutor(CALLERS) as callers:
                    for each in callers.map(lambda one: _statuses(port, one), data):
                        hung += each is None
                        found.update(each or [])
                sizes.append(process.memory_info().rss)
        tracebacks = log.read_text(errors="replace").count("Traceback")
    bad = sum(number for status, number in found.items() if status >= 500)
    growth = sizes[-1] / sizes[0]
    print(f"{count:,} connections, {found.total():,} answers: {dict(sorted(found.items()))}")
    print(f"5xx {bad}, tracebacks {tracebacks}, hung {hung}, memory {growth:.2f} times that after a tenth of them")
    sys.exit(int(bool(bad or tracebacks or hung) or growth > GROWTH))


def _statuses(port: int, data: bytes) -> list[int] | None:
    try:
        return mutations.statuses(port, data)
    except TimeoutError:
        return None
    except ConnectionError:
        return []


if __name__ == "__main__":
    command(prog_name="python -m tests.mutated")
