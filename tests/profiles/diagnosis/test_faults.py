"""Faults that are really there, and services that are not ours: a short form of `diagnose --score`.

No other test runs beside these. A machine may still be busy with something else, and what is measured on it is then not
what was injected: where the kernel's counters say so, a verdict may be about that, or that nothing can be told.
"""

import json
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo import MongoClient

from harness.threads import meanwhile
from loadtests.run import Load
from loadtests.targets import Command
from profiles.__main__ import command
from profiles.diagnosis import culprit, faults, rules
from profiles.diagnosis.evidence import Evidence
from profiles.diagnosis.observe import look
from profiles.diagnosis.verdict import judge
from tests.in_process import invoke

pytestmark = pytest.mark.alone
BUSY = {rules.MACHINE_FULL, rules.LOAD_GENERATOR, rules.UNKNOWN}
SECONDS = 3.0


def possible(seen: Evidence, *right: str) -> set[str]:
    """The verdicts that are true of `seen`: those that are right, and what others on this machine do to it."""
    delayed = max(seen["server_delayed"], seen["mongod_delayed"], seen["generator_late"])
    busy = BUSY if seen["others_busy"] >= 0.1 or seen["machine_busy"] >= 0.9 or delayed >= 0.1 else set()
    kept = {rules.SERVER_CPU} if seen["server_delayed"] >= 0.25 else set()
    return {*right, *busy, *kept} | ({rules.DATABASE_CPU} if seen["mongod_delayed"] >= 0.25 else set())


def seen_with(name: str, folder: Path) -> Evidence:
    with faults.situation(name) as found, found.running() as server:
        return look(replace(found.load, seconds=SECONDS), server.url, folder / "run", database=faults.DATABASE)


@pytest.mark.parametrize(
    ("name", "signal", "least"),
    [
        ("network", "distance_ms", 25.0),
        ("slow-mongodb", "held_ms", 25.0),
        ("mongod-stopped", "mongod_delayed", 0.4),
        ("pool-pymongo", "queue_ratio", 2.0),
        ("blocking", "loop_ms", 8.0),
        ("turns", "application_share", 0.5),
        ("write-limit", "refused_share", 0.4),
        ("missing-index", "examined", 1000.0),
    ],
)
def test_a_fault_is_seen_and_named(name: str, signal: str, least: float, tmp_path: Path) -> None:
    seen = seen_with(name, tmp_path)
    verdict = judge(seen)
    assert verdict.evidence[signal] >= least
    assert verdict.verdict in possible(seen, *faults.FAULTS[name].right), verdict.why


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_slow_disk(tmp_path: Path) -> None:
    seen = seen_with("slow-disk", tmp_path)
    assert seen["sync_ms"] > 15
    assert judge(seen).verdict in possible(seen, rules.DISK)


def test_nothing_is_wrong(tmp_path: Path) -> None:
    seen = seen_with("none", tmp_path)
    assert judge(seen).verdict in possible(seen, rules.HEALTHY)
    assert set(seen.budget.parts) >= {"waiting to be sent", "application", "in MongoDB", "answer unread"}


def test_of_many_callers_in_a_closed_loop_it_is_the_servers_processor(tmp_path: Path) -> None:
    seen = seen_with("callers", tmp_path)
    verdict = judge(seen)
    assert verdict.verdict in possible(seen, rules.SERVER_CPU), verdict.why
    # Nobody waits in a queue of writes here, and so it is: not one that was not seen, with all the rest of the time.
    assert seen.budget.parts["queue of writes"] == 0.0 < seen.budget.parts["application"]


def test_slow_queries_of_somebody_else_are_not_the_services(tmp_path: Path) -> None:
    def query(ended: threading.Event) -> None:
        while not ended.is_set():
            list(things.find({"text": "y"}))

    with faults.situation("none") as found, MongoClient[dict[str, str]](found.settings["mongodb_uri"]) as client:
        things = client.others.things
        things.insert_many([{"text": "x" * 50} for _ in range(20_000)])
        with meanwhile(query), found.running() as server:
            seen = look(replace(found.load, seconds=SECONDS), server.url, tmp_path / "run", database=faults.DATABASE)
    assert seen["others_inside"] > 0.1
    assert judge(seen).verdict in possible(seen, rules.HEALTHY, rules.DATABASE_CPU)


def test_the_command_prints_all_of_it(tmp_path: Path) -> None:
    ended = invoke(command, "diagnose", "--fault", "write-limit", "--json", "--folder", tmp_path / "diagnosis")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["verdict"] in {rules.RATE_LIMIT} | BUSY
    assert {"value", "unit", "says", "signal"} <= set(document["evidence"][0])
    assert document["budget_ms"]["waiting to be sent"] >= 0
    assert document["next"]
    if document["verdict"] == rules.RATE_LIMIT:
        assert {"changed", "before", "after", "confirms"} <= set(document["intervention"])
        assert document["intervention"]["confirms"] is not False


FLASK = """
import sqlite3, sys
from flask import Flask, jsonify

app = Flask(__name__)
with sqlite3.connect("messages.db") as made:
    made.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT, text TEXT)")
    rows = ((f"a{number % 5000}", "x" * 50) for number in range(200_000))
    made.executemany("INSERT INTO messages (author, text) VALUES (?, ?)", rows)


@app.get("/items")
def by_author():
    with sqlite3.connect("messages.db") as database:
        found = database.execute("SELECT id FROM messages WHERE author = 'a17' ORDER BY text, id").fetchall()
    return jsonify(items=found[:3])


app.run(port=int(sys.argv[1]), threaded=True)
"""
NODE = """
const cell = new Int32Array(new SharedArrayBuffer(4));
require("http").createServer((request, response) => {
  Atomics.wait(cell, 0, 0, 20);
  response.end("[]");
}).listen(Number(process.argv[2]), "127.0.0.1");
"""


def test_a_slow_query_of_sqlite_is_named(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(FLASK)
    (tmp_path / "use.py").write_text('from loadtests.scenarios import Request\n\nbrowse = Request("GET", "/items")\n')
    target = Command(f"{sys.executable} shop.py {{port}}", ready="/items", cwd=tmp_path)
    load = Load(f"{tmp_path}/use.py:browse", users=8, seconds=2.0, fast=True)
    with target.running() as server:
        seen = look(load, server.url, tmp_path / "run", pid=server.pid)
        found = culprit.find(server, load, tmp_path / "profile", blocked=False)
    assert judge(seen).verdict in possible(seen, rules.SERVER_CPU)
    assert found is not None
    assert found.in_sqlite
    assert found.function.startswith("by_author (")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_blocking_call_in_node_is_named(tmp_path: Path) -> None:
    (tmp_path / "shop.js").write_text(NODE)
    (tmp_path / "use.py").write_text('from loadtests.scenarios import Request\n\nbrowse = Request("GET", "/items")\n')
    target = Command("node shop.js {port}", ready="/items", cwd=tmp_path)
    load = Load(f"{tmp_path}/use.py:browse", users=8, seconds=2.0, fast=True)
    with target.running() as server:
        seen = look(load, server.url, tmp_path / "run", pid=server.pid)
    assert judge(seen).verdict in possible(seen, rules.LOOP_BLOCKED)
