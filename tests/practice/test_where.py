"""Where the time of a learner's server goes: which of their lines a stack is in, and what the kernel tells."""

import sys
from pathlib import Path

import pytest

from harness import servers, watch
from practice import settings, where
from tests.practice.conftest import NewFolder
from tests.profiles import recorded


@pytest.mark.parametrize(
    ("stack", "line"),
    [
        ("<module> (app.py:9);run (socketserver.py:70);get (app.py:20);loads (json/decoder.py:3)", "app.py:20 get"),
        ("<module> (app.py:9);run (socketserver.py:70)", ""),
        ("newest (store/messages.py:5)", "store/messages.py:5 newest"),
        ("run (nowhere.py:1)", ""),
        ("", ""),
    ],
)
def test_the_innermost_line_of_the_learners_own_is_named(tmp_path: Path, stack: str, line: str) -> None:
    (tmp_path / "store").mkdir()
    for name in ("app.py", "store/messages.py"):
        (tmp_path / name).touch()
    assert where._own_line(stack, tmp_path) == line


def test_a_profile_names_the_learners_lines_that_take_most(tmp_path: Path) -> None:
    (tmp_path / "server/store.py").parent.mkdir()
    (tmp_path / "server/store.py").touch()
    seen = where._by_py_spy(recorded.write(tmp_path / "run"), tmp_path)
    assert seen.by == "py-spy"
    assert seen.parts == pytest.approx({where.REST: 75_000, "driver": 50_000, "JSON": 25_000})
    assert seen.notes == ["50,000 µs of it, without system calls, in server/store.py:50 Store.newest and what it calls"]


def test_a_server_that_ran_no_python_while_it_was_looked_at_has_no_lines_to_name(tmp_path: Path) -> None:
    run = recorded.write(tmp_path / "run")
    (run / "profile.raw").write_text("")
    seen = where._by_py_spy(run, tmp_path)
    assert (seen.parts, seen.notes) == (pytest.approx({where.REST: 150_000}), [])


def test_the_kernel_tells_of_any_server(new_folder: NewFolder, tmp_path: Path) -> None:
    folder = new_folder()
    (tmp_path / "data").mkdir()
    command = settings.of_folder(folder).command or ""
    with servers.running(command, tmp_path / "log", data=tmp_path / "data", cwd=folder) as server:
        processes = watch.behind(server.url).roles["server"]
        seen, share = where._by_the_kernel(server.url, processes, 1.0)
        assert not where.calls_out(server)
    assert (seen.by, share) == ("the kernel", 1.0)
    assert set(seen.parts) == {"its own code", "system calls"}
    assert all(microseconds > 0 for microseconds in seen.parts.values())
    assert "answered by 1 process" in seen.notes[0]


def test_a_server_that_calls_another_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    caller = (
        "import socket, sys\nfrom http.server import HTTPServer, SimpleHTTPRequestHandler\n"
        "other = socket.create_server(('127.0.0.1', 0))\n"
        "kept = socket.create_connection(other.getsockname())\n"
        "HTTPServer(('127.0.0.1', int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()\n"
    )
    with servers.running([sys.executable, "-c", caller, "{port}"], tmp_path / "log", cwd=tmp_path) as server:
        assert where.calls_out(server)
