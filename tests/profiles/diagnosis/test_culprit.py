"""Which threads are at work, by ends of stacks such as py-spy writes of a Flask server on SQLite."""

import pandas as pd
import pytest

from profiles.diagnosis import culprit

LIBC = "0x7f3dc8aa9753 (libc.so.6);0x7f3dc8aa412b (libc.so.6)"
WAITS = {
    "for Python's lock": "_pysqlite_query_execute (cursor.c:896);pthread_cond_timedwait (libc.so.6)",
    "for it, in C without symbols": f"sock_call_ex (socketmodule.c:923);pthread_cond_timedwait (libc.so.6);{LIBC}",
    "for a lock": f"wait (threading.py:331);PyThread_acquire_lock_timed (libpython3.11.so.1.0);{LIBC}",
    "for a request": "select_poll_poll_impl (selectmodule.c:640);poll (libc.so.6)",
    "for a request, with a mask of signals": "serve (server.c:12);ppoll (libc.so.6)",
    "for one of several": "serve (server.c:12);pselect (libc.so.6)",
    "in an event loop": "select_epoll_poll_impl (selectmodule.c:1600);epoll_wait (libc.so.6)",
}
WORKS = {
    "in SQLite": "pysqlite_step (util.c:31);sqlite3_step (libsqlite3.so.0);0x7f3dc8aa3f16 (libsqlite3.so.0)",
    "in Python": "by_author (shop.py:16);jsonify (flask/json/__init__.py:170)",
    "a thread that begins": "0x7f52298a71f5 (libc.so.6);thread_run (libpython3.11.so.1.0)",
    "sends": "sock_sendall (socketmodule.c:4269);sock_call_ex (socketmodule.c:921);send (libc.so.6)",
}


@pytest.mark.parametrize("what", [*WAITS, *WORKS])
def test_who_waits_is_not_at_work(what: str) -> None:
    sampled = pd.DataFrame({"stack": [(WAITS | WORKS)[what]], "samples": [1]})
    assert list(culprit._works(sampled)) == [what in WORKS]
