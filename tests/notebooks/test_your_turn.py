"""The tasks at the end of each notebook: every solution is right, and what is not says which hint fits."""

import ast
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import requests

from client import MessageClient
from harness.servers import Server
from migrations.operations import Backfill, Index
from notebooks import lab
from notebooks.your_turn import (
    breaks,
    data,
    ladder,
    mixed,
    own_server,
    reads,
    scaffolding,
    start,
    verdict,
    webhooks,
    writes,
)
from notebooks.your_turn.verdict import Verdict
from practice.outages import history
from tests import pages

TAG = "your-turn"
SOLUTIONS = lab.NOTEBOOKS / "solutions"
RUNGS = pd.DataFrame(
    {"low": [100.0, 110.0, 300.0], "high": [150.0, 400.0, float("inf")]}, index=["baseline", "+ cache", "+ all"]
)
POST = history.Post("w", "a", 1.0, 2.0, history.ACKNOWLEDGED, "x", 1, "2024-02-29T12:00:00.000Z")


def tasks(notebook: Path) -> list[str]:
    """The code of the tagged cells: what they import, then a cell for each task."""
    cells = json.loads(notebook.read_text())["cells"]
    tagged = [each for each in cells if TAG in each["metadata"].get("tags", [])]
    return ["".join(each["source"]) for each in tagged if each["cell_type"] == "code"]


def solutions(notebook: Path) -> list[str]:
    return pages.read(SOLUTIONS / f"{notebook.stem}.md").blocks("python")


def run(code: str, variables: dict[str, Any]) -> Any:
    """Execute a cell; the value of its last line."""
    *lines, last = ast.parse(code).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(lines, []), "cell", "exec"), variables)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), variables)


@pytest.fixture
def variables(
    shared_server: Server, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, Any]:
    """What the notebooks have defined when the tasks begin."""
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("LAB_URL", shared_server.url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(writes, "P95_MS", 60_000.0)  # no test asserts a time
    client = MessageClient(shared_server.url)
    imports = "import requests\nfrom datetime import UTC, datetime, timedelta\n"
    known: dict[str, Any] = {
        "client": client,
        "message": client.send("Hello, is anybody there?", author="you"),
        "url": shared_server.url,
        "uri": mongodb_uri,
        "capacities": {"single": SimpleNamespace(low=50.0)},
        "rungs": RUNGS,
        "everything": [POST, history.Stored([(POST.text, POST.seq, POST.at)])],
    }
    exec(imports, known)
    return known


BY_NAME = pytest.mark.parametrize("notebook", lab.notebooks(), ids=lambda path: path.stem)


@BY_NAME
def test_a_notebook_ends_with_two_or_three_tasks_and_their_solutions(notebook: Path) -> None:
    _, *cells = tasks(notebook)
    assert len(cells) in (2, 3)
    assert len(solutions(notebook)) == len(cells)
    assert SOLUTIONS.name not in notebook.read_text()


@BY_NAME
def test_who_has_not_begun_is_told_where_to_begin(notebook: Path, variables: dict[str, Any]) -> None:
    begin, *cells = tasks(notebook)
    exec(begin, variables)
    for cell in cells:
        assert "= ...\n" in cell
        said = repr(run(cell, variables))
        assert said.startswith("not yet: there is no answer in place of `...`\nhint: ")


@pytest.mark.timeout(600)
@BY_NAME
def test_the_solutions_are_right(notebook: Path, variables: dict[str, Any]) -> None:
    begin, *cells = tasks(notebook)
    exec(begin, variables)
    for solution, cell in zip(solutions(notebook), cells, strict=True):
        _, _, check = cell.partition("= ...\n")
        said = repr(run(f"{solution}\n{check}", variables))
        assert said.startswith("right: "), said


def hinted(said: Verdict, hint: str) -> None:
    assert (said.right, hint in said.hint) == (False, True), said
    assert "\nhint: " in repr(said)


def test_a_check_never_raises() -> None:
    @verdict.task("begin here")
    def check(answer: int) -> Verdict:
        return verdict.right(str(1 / answer))

    assert check(1).right
    hinted(check(0), "begin here")
    assert "ZeroDivisionError" in check(0).seen


# What is not right yet, notebook by notebook.


def test_a_reply_answers_the_message_under_a_name(shared_server: Server) -> None:
    with MessageClient(shared_server.url) as client:
        message, other = (client.send("anybody?", author="you") for _ in range(2))
        hinted(start.replies(client.send("yes", author="me"), message), "client.reply")
        hinted(start.replies(client.reply(other.id, "yes", author="me"), message), "message.id")
        hinted(start.replies(client.reply(message.id, "yes"), message), "name the author")
        hinted(start.replies("yes", message), "client.reply")
        hinted(start.refused("hello", client), "one character")


def test_a_request_is_repeated_with_its_key(shared_server: Server) -> None:
    def post(text: str, **headers: str) -> requests.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(f"{shared_server.url}/messages", json={"text": text}, headers=sent)

    hinted(scaffolding.stored_once([post("a"), post("a")]), "Idempotency-Key")
    two = [post("a", Idempotency_Key="two"), post("b", Idempotency_Key="two")]
    hinted(scaffolding.stored_once(two), "same body")
    hinted(scaffolding.stored_once([post(""), post("")]), ".json()")
    hinted(scaffolding.stored_once([post("a")]), "in a list")


def test_a_list_is_asked_for_on_a_condition(shared_server: Server) -> None:
    url = f"{shared_server.url}/messages"
    hinted(scaffolding.nothing_new(requests.get(url)), "If-None-Match")
    hinted(scaffolding.nothing_new(requests.get(url, headers={"If-None-Match": '"another"'})), "take the ETag")


def test_the_time_in_an_id_is_utc() -> None:
    true = data.ObjectId(data.ID).generation_time
    hinted(data.moment(true.replace(tzinfo=None)), "UTC")
    hinted(data.moment(true.replace(year=1999)), "hexadecimal")


def backfill(**other: Any) -> list[Backfill]:
    """A migration 0007 that is right, but for `other`."""
    fields: dict[str, Any] = {
        "what": "their length",
        "todo": {"length": None},
        "pipeline": [{"$set": {"length": {"$strLenCP": "$text"}}}],
        "undo_todo": {"length": {"$exists": True}},
        "undo": [{"$unset": "length"}],
        "exceptions": {"text": None},
        "exceptions_are": "have no text",
    }
    return [Backfill(**fields | other)]


@pytest.mark.parametrize(
    ("operations", "hint"),
    [
        ([Index("by_length", [("length", 1)])], "$strLenCP"),
        (backfill(pipeline=[{"$set": {"length": {"$strLenBytes": "$text"}}}]), "counts characters"),
        (backfill(undo_todo={"length": "never"}), "undo"),
        (backfill(undo=[{"$unset": ["length", "text"]}]), "undo"),
        ("0007_length.py", "OPERATIONS"),
    ],
)
def test_a_migration_is_tried_in_both_directions(operations: Any, hint: str, mongodb_uri: str) -> None:
    hinted(data.migration(operations, mongodb_uri), hint)


@pytest.mark.parametrize(
    ("check", "mistakes"), [(webhooks.twilio, webhooks._TWILIO), (webhooks.slack, webhooks._SLACK)]
)
def test_a_wrong_signature_says_which_mistake_it_was(check: Callable[[str], Verdict], mistakes: dict[str, str]) -> None:
    for signature, hint in mistakes.items():
        hinted(check(signature), hint)
    hinted(check("nonsense"), "see ")


def test_a_cache_that_is_told_of_writes_is_not_stale(monkeypatch: pytest.MonkeyPatch, mongodb_uri: str) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    monkeypatch.setattr(reads, "STALE_MS", 60_000.0)
    hinted(reads.stale({"cache": "off"}), "which --cache")
    hinted(reads.stale({"cash": "off"}), "--help")


def test_a_reader_who_sends_nothing_catches_nothing(monkeypatch: pytest.MonkeyPatch, mongodb_uri: str) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    hinted(reads.caught(lambda written: {}), "Lab-Seen")
    hinted(reads.caught(lambda written: {"Lab-Seen": written.headers["Seen"]}), "lambda written")


def test_a_limit_fits_the_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    hinted(writes.limit("200/second", 100.0), "its capacity is 100")
    hinted(writes.limit("600/minute", 100.0), "raise the limit")
    hinted(writes.limit("plenty", 100.0), "100/second")
    monkeypatch.setattr("loadtests.overload.with_limit", lambda capacity, limit: {"p95_ms": 51.0})
    hinted(writes.limit("90/second", 100.0), "more room")


@pytest.mark.parametrize(
    ("group", "hint"),
    [
        (lambda arrivals, commit: [[each] for each in arrivals], "what arrives while one lasts waits"),
        (lambda arrivals, commit: [arrivals[:1]], "exactly one batch"),
        (lambda arrivals, commit: [arrivals], "commits at once"),
        (lambda arrivals, commit: None, "a function group"),
    ],
)
def test_group_commit_is_tried_on_cases(group: Callable[..., Any], hint: str) -> None:
    hinted(writes.groups(group), hint)


SCENARIOS = """
def read(session):
    session.get("/messages")


def write(session):
    session.post("/messages", json={"text": "lunch?"})


def odd(session):
    session.get("/nothing")


equal = {read: 1, write: 1}
wrong = {read: 3, write: 1, odd: 1}
"""


@pytest.mark.parametrize(("name", "hint"), [("read", "POST"), ("equal", "weight"), ("wrong", "say"), ("no", "file")])
def test_a_scenario_is_run(name: str, hint: str, shared_server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCENARIOS)
    hinted(mixed.scenario(f"{tmp_path / 'mine.py'}:{name}", shared_server.url), hint)


def test_each_bottleneck_has_its_hint() -> None:
    right = dict(zip(mixed.CASES, mixed.WORDS, strict=True))
    assert mixed.bottlenecks(right).right
    for name in right:
        hinted(mixed.bottlenecks(right | {name: "luck"}), mixed._HINTS[name])


def test_an_optimisation_gives_what_it_leaves() -> None:
    hinted(ladder.at_most(1000 / 700), "what is left")
    hinted(ladder.at_most(2), "stay")


def test_capacities_are_told_apart_by_their_intervals() -> None:
    assert ladder.apart(["+ all"], RUNGS).right
    hinted(ladder.apart([], RUNGS), "above")
    hinted(ladder.apart(["+ cache", "+ all"], RUNGS), "compare")


def test_a_message_is_stored_twice_and_none_is_lost() -> None:
    everything = [POST, history.Stored([(POST.text, POST.seq, POST.at)])]
    hinted(breaks.doubled([], everything), "keep all rows")
    hinted(breaks.doubled(everything[-1].messages, everything), "by its text")
    hinted(breaks.doubled("x", everything), "begin with")


def test_a_majority_has_to_be_left() -> None:
    hinted(breaks.deaths(lambda members: members // 2), "a majority of all 2")
    hinted(breaks.deaths(lambda members: 1), "a majority of all 1")
    hinted(breaks.deaths(2), "lambda members")


def test_a_question_that_both_servers_answer_alike_tells_nothing() -> None:
    hinted(own_server.tells_apart("2001-01-01T00:00:00+02:00"), "east")
    hinted(own_server.tells_apart("yesterday"), "+02:00")


def test_a_folder_without_a_server_is_refused(tmp_path: Path) -> None:
    said = own_server.stage_one(tmp_path / "nothing")
    hinted(said, "practice show 1")
    assert os.fspath(tmp_path) in said.seen
