"""Raw stacks as a DataFrame, and each stack's category in words a backend engineer uses."""

import re
from pathlib import Path

import pandas as pd

# The innermost frame that one of these knows names the category. A frame reads `function (file:line)`.
CATEGORIES: list[tuple[str, str]] = [
    ("driver", r"\((pymongo|motor|bson|gridfs)/|\(server/store\.py|\(concurrent/futures/thread\.py"),
    ("JSON", r"\((json|pydantic)/|\(server/api/(wire|parsing)\.py"),
    ("cache", r"\(server/recent\.py"),
    ("rate limit", r"\((server/admission\.py|limits/)"),
    ("telemetry", r"\((server/telemetry\.py|prometheus_client/|logging/)"),
    (
        "HTTP parsing",
        r"\(tornado/(http1connection|httputil|httpserver|iostream|tcpserver|netutil|escape)\.py|\((http|urllib)/",
    ),
    ("routing and handler", r"\(tornado/(web|routing)\.py|\(server/"),
    ("event loop", r"\((asyncio|selectors|tornado)[/.]"),
]
OTHER = "other"
ORDER = [name for name, _ in CATEGORIES] + [OTHER]

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
