"""Raw stacks as a DataFrame, and each stack's category in words a backend engineer uses."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

# The innermost frame that one of these knows names the category. A frame reads `function (file:line)`.
CATEGORIES: list[tuple[str, str]] = [
    ("driver", r"\((pymongo|motor|bson|gridfs)/|\(server/store\.py|\(concurrent/futures/thread\.py"),
    ("JSON", r"\((json|pydantic)/|\(server/api/(wire|parsing)\.py"),
    ("cache", r"\(server/(recent|timeline)\.py"),
    ("rate limit", r"\((server/admission\.py|limits/)"),
    ("telemetry", r"\((server/telemetry\.py|prometheus_client/|logging/)"),
    (
        "HTTP parsing",
        r"\(tornado/(http1connection|httputil|httpserver|iostream|tcpserver|netutil|escape)\.py|\((http|urllib)/|"
        r"\(server/connections\.py",
    ),
    ("routing and handler", r"\(tornado/(web|routing)\.py|\(server/"),
    ("event loop", r"\((asyncio|selectors|tornado)[/.]"),
]
OTHER = "other"
ORDER = [name for name, _ in CATEGORIES] + [OTHER]

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
_WAITS = [(name, re.compile(pattern)) for name, pattern in WAITS]
_RULES = [(name, re.compile(pattern)) for name, pattern in CATEGORIES]


def read(raw: Path) -> pd.DataFrame:
    """A py-spy recording in the format `raw`; a row for each distinct stack.

    Columns: stack (frames, outermost first, separated by `;`), leaf (the innermost frame), samples,
    category.
    """
    lines = [line.rpartition(" ") for line in raw.read_text().splitlines() if line.strip()]
    rows = pd.DataFrame(
        {"stack": [stack for stack, _, _ in lines], "samples": [int(samples) for _, _, samples in lines]},
    ).astype({"stack": str, "samples": int})
    rows["leaf"] = [stack.rpartition(";")[2] for stack in rows["stack"]]
    rows["category"] = [category(stack) for stack in rows["stack"]]
    return rows[["stack", "leaf", "samples", "category"]]


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
