"""What the kernel's counters say of a process's threads: made-up looks, and a server with a thread for each request."""

import os
import sys
import threading
from math import isnan
from pathlib import Path

import pytest

from loadtests.run import Load
from loadtests.targets import Command
from profiles.diagnosis.kernel_watch import KernelWatch, Look, Unread, be_punctual
from profiles.diagnosis.observe import look


def watched(*looks: Look, usable: float = 1.0) -> KernelWatch:
    return KernelWatch(looks={("server", 7): list(looks)}, usable={7: usable})


def test_all_threads_together_are_compared_with_what_the_process_can_use() -> None:
    seen = watched(Look(0.0, 0.0, {1: (0.0, 0.0), 2: (5.0, 0.0)}), Look(2.0, 1.6, {1: (0.8, 0.2), 2: (5.8, 1.0)}))
    assert seen.processor("server", 0.0, 2.0) == pytest.approx((0.8, 0.5))
    assert seen.working_threads("server", 0.0, 2.0) == 2


def test_one_thread_at_its_limit_counts_where_the_process_could_use_more() -> None:
    seen = watched(Look(0.0, 0.0, {1: (0.0, 0.0)}), Look(2.0, 2.0, {1: (2.0, 0.0)}), usable=4.0)
    assert seen.processor("server", 0.0, 2.0) == pytest.approx((1.0, 0.0))


def test_the_work_of_threads_that_ended_is_not_lost() -> None:
    """Each was there for one look, and did its work before and after it."""
    seen = watched(
        Look(0.0, 0.0, {1: (0.0, 0.0), 10: (0.1, 0.0)}),
        Look(1.0, 0.9, {1: (0.0, 0.0), 11: (0.1, 0.0)}),
        Look(2.0, 1.8, {1: (0.1, 0.0), 12: (0.1, 0.0)}),
    )
    assert seen.processor("server", 0.0, 2.0) == pytest.approx((0.9, 0.0))
    assert seen.working_threads("server", 0.0, 2.0) >= 4


def test_who_is_stopped_is_kept_from_the_processor() -> None:
    seen = watched(Look(0.0, 0.0, {1: (0.0, 0.0)}), Look(2.0, 0.2, {1: (0.2, 0.4)}))
    seen.stopped["server", 7] = [(0.1, True), (0.7, False), (1.3, True), (1.8, False)]
    assert seen.processor("server", 0.0, 2.0) == pytest.approx((0.1, 0.7))


def test_what_was_not_seen_twice_is_not_seen() -> None:
    seen = watched(Look(0.0, 0.0, {1: (0.0, 0.0)}))
    assert all(
        isnan(value) for value in (*seen.processor("server", 0.0, 2.0), seen.working_threads("server", 0.0, 2.0))
    )
    assert isnan(seen.processor("mongod", 0.0, 2.0)[0])


def unread(time: float, requests: int) -> Unread:
    return Unread(time, requests, answers=0, operations=0, replies=0)


def test_a_look_counts_for_as_long_as_nobody_looked_again() -> None:
    """On a busy machine looks come late just when most lies unread: the mean of the looks would be 1.6."""
    looks = [unread(0.0, 0), unread(0.1, 0), unread(0.2, 4), unread(0.9, 4), unread(1.0, 0)]
    seen = KernelWatch(unread=looks)
    assert seen.mean_unread("requests", 0.0, 1.0) == pytest.approx(0.1 * 2 + 0.7 * 4 + 0.1 * 2)
    assert seen.mean_unread("requests", 0.15, 0.95) == pytest.approx(4)
    assert isnan(seen.mean_unread("requests", 0.85, 0.95))  # one look is no stretch of time


def test_the_thread_that_looks_comes_first_if_it_may() -> None:
    found: list[int] = []
    looking = threading.Thread(target=lambda: (be_punctual(), found.append(os.sched_getscheduler(0))))
    looking.start()
    looking.join(20)
    assert found in ([os.SCHED_FIFO], [os.SCHED_OTHER])
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_server_with_a_thread_for_each_connection_has_no_loop_to_block(tmp_path: Path) -> None:
    """It speaks HTTP/1.0, so that each of its threads ends after one request."""
    (tmp_path / "shop.py").write_text(SERVER)
    (tmp_path / "use.py").write_text('from loadtests.scenarios import Request\n\nbrowse = Request("GET", "/")\n')
    load = Load(f"{tmp_path}/use.py:browse", users=4, seconds=2.0, fast=True)
    with Command(f"{sys.executable} shop.py {{port}}", cwd=tmp_path).running() as server:
        seen = look(load, server.url, tmp_path / "run", pid=server.pid)
    # Each answer took 10 ms of a processor.
    assert seen["server_cpu"] >= 0.01 * seen["answered_per_s"]
    assert seen["server_threads"] >= 4
