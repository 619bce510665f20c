"""Which of a backend engineer's words each stack is counted to."""

import ast
import re
from pathlib import Path

import pytest

from profiles import stacks

ROOT = Path(__file__).parents[2]

# Frames as py-spy prints them, innermost last; one without an outer frame stands for itself.
CATEGORY_OF = {
    "Cursor._refresh (pymongo/synchronous/cursor.py:1044)": "driver",
    "AgnosticBaseCursor.to_list (motor/core.py:1577)": "driver",
    "ObjectId.__str__ (bson/objectid.py:234)": "driver",
    "Store.before (server/store.py:49)": "driver",
    "_WorkItem.run (concurrent/futures/thread.py:58)": "driver",
    "dumps (json/__init__.py:238)": "JSON",
    "BaseModel.model_validate (pydantic/main.py:716)": "JSON",
    "encode (server/api/wire.py:13)": "JSON",
    "body (server/api/parsing.py:30)": "JSON",
    "TtlCache.recent (server/recent.py:45)": "cache",
    "Timeline.catch_up (server/timeline.py:119)": "cache",
    "Admission.admit (server/admission.py:25)": "rate limit",
    "MovingWindowRateLimiter.hit (limits/aio/strategies.py:92)": "rate limit",
    "Metrics.answered (server/telemetry.py:80)": "telemetry",
    "Histogram.observe (prometheus_client/metrics.py:664)": "telemetry",
    "Logger.info (logging/__init__.py:1489)": "telemetry",
    "HTTP1Connection._read_message (tornado/http1connection.py:231)": "HTTP parsing",
    "HTTPHeaders.parse_line (tornado/httputil.py:230)": "HTTP parsing",
    "BaseIOStream._read_to_buffer (tornado/iostream.py:862)": "HTTP parsing",
    "Connection.data_received (server/http1/connection.py:143)": "HTTP parsing",
    "parse_qsl (urllib/parse.py:785)": "HTTP parsing",
    "RuleRouter.find_handler (tornado/routing.py:360)": "routing and handler",
    "RequestHandler._execute (tornado/web.py:1848)": "routing and handler",
    "MessageList.get (server/api/handlers.py:50)": "routing and handler",
    "MessageService.recent (server/messages.py:150)": "routing and handler",
    "BaseEventLoop._run_once (asyncio/base_events.py:1922)": "event loop",
    "EpollSelector.select (selectors.py:468)": "event loop",
    "BaseAsyncIOLoop._handle_events (tornado/platform/asyncio.py:206)": "event loop",
    "convert_yielded (tornado/gen.py:860)": "event loop",
    "Thread._bootstrap (threading.py:1002)": "other",
    "Command.main (click/core.py:1560)": "other",
    "_run_code (<frozen runpy>:88)": "other",
    # The innermost frame that says something decides, whoever called it …
    "MessageList.get (server/api/handlers.py:50);Store.before (server/store.py:49)": "driver",
    "Store.before (server/store.py:49);BaseEventLoop.run_in_executor (asyncio/base_events.py:829)": "event loop",
    # … and one that says nothing is passed over.
    "Store.before (server/store.py:49);parse (re/__init__.py:190);_compile (re/_parser.py:12)": "driver",
    "BaseEventLoop._run_once (asyncio/base_events.py:1922);heappop (heapq.py:1)": "event loop",
    # A function's name, or a folder that only sounds alike, decides nothing.
    "pymongo/ (threading.py:1)": "other",
    "get (myserver/store.py:1)": "other",
    "": "other",
}


@pytest.mark.parametrize(("stack", "category"), CATEGORY_OF.items())
def test_the_category_of_a_stack(stack: str, category: str) -> None:
    assert stacks.category(stack) == category


def test_every_category_is_in_the_table_above() -> None:
    assert set(CATEGORY_OF.values()) == set(stacks.ORDER)


def functions_in(file: Path) -> set[str]:
    """The functions and methods of a module, as py-spy names them on Python 3.11 and newer."""
    body = ast.parse(file.read_text()).body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    functions = [("", node) for node in body] + [(f"{each.name}.", node) for each in classes for node in each.body]
    return {
        prefix + node.name for prefix, node in functions if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_the_functions_of_ours_in_the_table_above_are_there() -> None:
    frames = {frame for stack in CATEGORY_OF for frame in stack.split(";") if "(server/" in frame}
    named = [(found[1], found[2]) for frame in frames if (found := re.match(r"(\S+) \((server/\S+):\d+\)", frame))]
    assert len(named) == len(frames) > 5
    assert [each for each in named if each[0] not in functions_in(ROOT / each[1])] == []


def test_a_recording_is_a_row_for_each_stack(tmp_path: Path) -> None:
    raw = tmp_path / "profile.raw"
    raw.write_text("main (server/app.py:60);dumps (json/__init__.py:238) 12\n\nmain (server/app.py:60) 3\n")
    assert stacks.read(raw).to_dict("records") == [
        {
            "stack": "main (server/app.py:60);dumps (json/__init__.py:238)",
            "leaf": "dumps (json/__init__.py:238)",
            "samples": 12,
            "category": "JSON",
        },
        {
            "stack": "main (server/app.py:60)",
            "leaf": "main (server/app.py:60)",
            "samples": 3,
            "category": "routing and handler",
        },
    ]


def test_a_recording_of_an_idle_server_has_no_rows(tmp_path: Path) -> None:
    raw = tmp_path / "profile.raw"
    raw.write_text("")
    rows = stacks.read(raw)
    assert list(rows.columns) == ["stack", "leaf", "samples", "category"]
    assert rows["samples"].sum() == 0


@pytest.mark.parametrize(
    ("stack", "reason"),
    [
        ("_run (threading.py:1);receive_message (pymongo/synchronous/pool.py:9);recv_into (pymongo/network_layer.py:3)",
         "an answer of MongoDB"),
        ("Pool._get_conn (pymongo/synchronous/pool.py:1);Condition.wait (threading.py:327)",
         "a free connection to MongoDB"),
        ("_run_once (asyncio/base_events.py:1);EpollSelector.select (selectors.py:468)",
         "requests and answers (the event loop)"),
        ("Thread.run (threading.py:982);_worker (concurrent/futures/thread.py:81)", "work (helper threads)"),
        ("main (server/app.py:60);dumps (json/__init__.py:238)", ""),
        ("_worker (concurrent/futures/thread.py:81);find (pymongo/collection.py:1)", ""),
    ],
)  # fmt: skip
def test_what_a_thread_waits_for(stack: str, reason: str) -> None:
    assert stacks.waits_for(stack) == reason


def test_functions_have_no_lines_and_begin_with_the_event() -> None:
    stack = "<module> (server/__main__.py:9);BaseEventLoop._run_once (asyncio/base_events.py:7);get (server/api.py:1)"
    assert stacks.functions(stack) == "BaseEventLoop._run_once (asyncio/base_events.py);get (server/api.py)"
    assert stacks.functions("main (a.py:1);f (b.py:2)") == "main (a.py);f (b.py)"


def test_a_file_for_speedscope(tmp_path: Path) -> None:
    raw = tmp_path / "profile.raw"
    raw.write_text("main (a.py:1);f (b.py:2) 3\nmain (a.py:1) 1\n")
    scope = stacks.speedscope(stacks.read(raw), "a run", rate=100)
    (profile,) = scope["profiles"]
    names = [frame["name"] for frame in scope["shared"]["frames"]]
    assert [[names[frame] for frame in sample] for sample in profile["samples"]] == [
        ["main (a.py:1)", "f (b.py:2)"], ["main (a.py:1)"],
    ]  # fmt: skip
    assert profile["weights"] == [0.03, 0.01]
    assert profile["endValue"] == pytest.approx(0.04)


def test_what_py_spy_really_writes_is_read(tmp_path: Path) -> None:
    raw = tmp_path / "profile.raw"
    raw.write_bytes(
        "main (app.py:1);a\u2028b (app.py:2) 3\n"
        "main (app.py:1);two\nlines (app.py:3) 4\n"
        "main (app.py:1);no count (app.py:4)\n".encode()
        + b"main (app.py:1);\xff\xfe (app.py:5) 5\n"
        + b"main (app.py:1);\x0b\x0c\x1c (app.py:6) 6\n"
        + b"\n"
        + b"main (app.py:1);cut of"
    )
    rows = stacks.read(raw)
    assert rows["samples"].tolist() == [3, 4, 5, 6]
    assert rows["leaf"].tolist()[1] == "two lines (app.py:3)"
    assert rows["leaf"].str.contains(r"app\.py:[2-6]\)$").all()
