"""Test data of older versions, and migration runners in separate processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bson import ObjectId

from migrations.runner import Database

# Runs `up` with a short lease. Prints a line for each batch; with `kill` it kills itself after the first batch.
RUNNER = """
import os, signal, sys
from migrations import runner, throttle
uri, name, target, lease, kill, wait = sys.argv[1:]
throttle.MIN_SIZE = throttle.FIRST_SIZE = throttle.MAX_SIZE = 500
batches = 0
def progress(step, done, total):
    global batches
    print(step, done, total, flush=True)
    batches += 1
    if kill == "kill" and batches == 2:
        os.kill(os.getpid(), signal.SIGKILL)
database = runner.connect(uri, name)
options = runner.Options(lease=float(lease), wait=float(wait), progress=progress)
try:
    for report in runner.up(database, target, options):
        print("report", report.step, flush=True)
except runner.MigrationError as error:
    print("error", error, flush=True)
    sys.exit(1)
finally:
    database.client.close()
"""


@contextmanager
def runner_process(
    uri: str, db: Database, target: str = "0006", lease: float = 1, kill: bool = False, wait: float = 60
) -> Iterator[subprocess.Popen[str]]:
    """A runner in a process of its own, which is killed at the end of the block if it still runs."""
    words = [uri, db.name, target, lease, "kill" if kill else "live", wait]
    command = [sys.executable, "-c", RUNNER, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def old_messages(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Documents of version 1, with the same ids in each call."""
    return [{"_id": ObjectId(f"{0x50000000 + n:08x}{n:016x}"), "text": f"number {n}"} for n in range(first, count)]


ODD = [
    {"_id": 7, "text": "an integer"},
    {"_id": "import-7", "text": "a string"},
    {"_id": "$text", "text": "looks like a field"},
    {"_id": {"a": 1}, "text": "a document"},
    {"_id": None, "text": "null"},
]


def contents(db: Database) -> list[dict[str, Any]]:
    """All messages, in the order of `_id`."""
    return list(db.messages.find(sort=[("_id", 1)]))
