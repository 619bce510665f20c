"""Raw stacks as a DataFrame, and each stack's category in words a backend engineer uses."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from loadtests import service

# The innermost frame that one of these knows names the category. A frame reads `function (file:line)`. What the files
# of the lab's own service do is told by `service.CATEGORIES`; its frames that are nothing more special come last.
CATEGORIES: list[tuple[str, str]] = [
    (
        "driver",
        r"\((pymongo|motor|bson|gridfs|psycopg2?|asyncpg|sqlalchemy|redis|sqlite3)/|"
        r"\(concurrent/futures/thread\.py",
    ),
    ("JSON", r"\((json|pydantic|orjson|msgspec)/"),
    *service.CATEGORIES,
    ("rate limit", r"\(limits/"),
    ("telemetry", r"\((prometheus_client|logging)/"),
    (
        "HTTP parsing",
        r"\(tornado/(http1connection|httputil|httpserver|iostream|tcpserver|netutil|escape)\.py|"
        r"\((http|urllib|h11|httptools|uvicorn/protocols|gunicorn/http|werkzeug/(http|serving))[/.]",
    ),
    (
        "routing and handler",
        r"\((tornado/(web|routing)\.py|flask/|werkzeug/|starlette/|fastapi/|django/)|" + service.HANDLERS,
    ),
    ("event loop", r"\((asyncio|selectors|tornado|gunicorn|gevent|uvicorn|socketserver)[/.]"),
]
OTHER = "other"
ORDER = [*dict.fromkeys(name for name, _ in CATEGORIES), OTHER]

# What a thread waits for, by its stack; the first that matches. A suspended coroutine is on no stack, so what
# requests wait for shows as the event loop's wait, unless a thread waits in their place, as with Motor.
WAITS: list[tuple[str, str]] = [
    ("an answer of MongoDB", r"recv_into \(pymongo/network_layer\.py(:\d+)?\)$"),
    ("a free connection to MongoDB", r"Pool\._get_conn .*\(threading\.py(:\d+)?\)$"),
    # uvloop is no Python: while it waits, the innermost frame is the one that runs it.
    ("requests and answers (the event loop)", r"(select \(selectors|Runner\.run \(asyncio/runners)\.py(:\d+)?\)$"),
    (
        "work (helper threads)",
        r"(_worker \(concurrent/futures/thread|PeriodicExecutor\._run \(pymongo/periodic_executor)\.py(:\d+)?\)$",
    ),
]

# Below these, innermost first, every event of a server begins; uvloop has no frame of its own.
_ROOTS = ("BaseEventLoop._run_once (asyncio/base_events.py)", "Runner.run (asyncio/runners.py)")
_LINE = re.compile(r":\d+\)")
_COUNTED = re.compile(r"(.*) (\d+)", re.DOTALL)
_WAITS = [(name, re.compile(pattern)) for name, pattern in WAITS]
_RULES = [(name, re.compile(pattern)) for name, pattern in CATEGORIES]


def read(raw: Path) -> pd.DataFrame:
    """A py-spy recording in the format `raw`; a row for each distinct stack.

    Columns: stack (frames, outermost first, separated by `;`), leaf (the innermost frame), samples,
    category. Names of functions and files are what the program made them, so they may hold line breaks, which become
    spaces here, and bytes that are not UTF-8. A stack whose count is missing is left out.
    """
    counted = list(_counted_stacks(raw.read_bytes().decode(errors="replace")))
    rows = pd.DataFrame(
        {"stack": [stack for stack, _ in counted], "samples": [samples for _, samples in counted]},
    ).astype({"stack": str, "samples": int})
    rows["leaf"] = [stack.rpartition(";")[2] for stack in rows["stack"]]
    rows["category"] = [category(stack) for stack in rows["stack"]]
    return rows[["stack", "leaf", "samples", "category"]]


def _counted_stacks(text: str) -> Iterator[tuple[str, int]]:
    """Each stack with its number of samples. Only `\\n` ends a line: `splitlines` knows ten other line breaks."""
    begun = ""
    for line in text.split("\n"):
        if found := _COUNTED.fullmatch(line):
            yield " ".join(f"{begun}{found[1]}".split()), int(found[2])
            begun = ""
        elif line.endswith(")"):
            begun = ""  # a whole stack without a count
        elif line:
            begun += f"{line} "  # a line break in a frame: it goes on in the next line


def category(stack: str) -> str:
    """The category of a stack: that of its innermost frame which has one."""
    for frame in reversed(stack.split(";")):
        for name, pattern in _RULES:
            if pattern.search(frame):
                return name
    return OTHER


def waits_for(stack: str) -> str:
    """What a thread with this stack waits for, or "" if it runs, or would if it had the interpreter."""
    return next((name for name, pattern in _WAITS if pattern.search(stack)), "")


def functions(stack: str) -> str:
    """The functions of a stack without line numbers, and without those that began the program and its event loop."""
    frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
    root = next((each for each in _ROOTS if each in frames), None)
    return ";".join(frames if root is None else frames[frames.index(root) :])


def speedscope(rows: pd.DataFrame, name: str, rate: float) -> dict[str, Any]:
    """The stacks of `read`, sampled `rate` times a second, as a file for https://www.speedscope.app."""
    frames: dict[str, int] = {}
    for stack in rows["stack"]:
        for frame in stack.split(";"):
            frames.setdefault(frame, len(frames))
    weights = [count / rate for count in rows["samples"]]
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": frame} for frame in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": name,
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": [[frames[frame] for frame in stack.split(";")] for stack in rows["stack"]],
                "weights": weights,
            }
        ],
    }
