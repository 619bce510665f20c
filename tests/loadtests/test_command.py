"""The command `python -m loadtests`."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from client import MessageClient
from harness.ports import free_port
from harness.servers import Server
from loadtests import service
from loadtests.__main__ import TITLES, command
from loadtests.ingest import Run
from loadtests.request_log import UNSENT
from loadtests.summary import summarize
from migrations.runner import Database
from tests.commands import complaint, run
from tests.in_process import invoke
from tests.strange_servers import answering, http

SHORT = ["--users", "2", "--seconds", "1", "--warmup", "0", "--rate", "20"]


def not_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_the_figures_as_text(shared_server: Server, tmp_path: Path) -> None:
    place = ["--url", f"{shared_server.url}/", "--folder", tmp_path / "run"]
    ended = invoke(command, "run", "mixed", *SHORT, *place)
    assert ended.returncode == 0
    # On a busy machine the run is void, and that is all that is said.
    assert not ended.stderr or re.fullmatch("Do not quote this .*\n", ended.stderr)
    for title in TITLES.values():
        assert title in ended.stdout
    assert ended.stdout.endswith(f"{tmp_path / 'run'}\n")


# A write limit that admits nothing any more.


@pytest.fixture(scope="module")
def refused(
    mongodb_uri: str, shared_db: Database, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What the command said with --json, and its run folder, when every write was refused."""
    directory = tmp_path_factory.mktemp("refused")
    place = {"mongodb_uri": mongodb_uri, "database": shared_db.name}
    with (
        service.running(directory / "server.log", write_limit="1/hour", **place) as server,
        MessageClient(server.url) as client,
    ):
        client.send("the only one that is admitted")
        where = ["--url", server.url, "--folder", directory / "run"]
        return run("loadtests", "run", "writes", *SHORT, *where, "--json"), directory / "run"


def test_refusals_are_rows_of_their_own_and_no_failures(
    refused: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    ended, folder = refused
    assert (ended.returncode, ended.stderr) == (0, "")
    requests = Run(folder).requests
    sent = requests[requests["outcome"] != UNSENT]  # a busy machine leaves some of what was due
    assert set(zip(sent["name"], sent["outcome"], strict=True)) == {("POST /messages refused", "refused")}
    stats = Run(folder).stats.set_index("name")
    assert stats["failures"].to_dict() == {"POST /messages refused": 0}


def test_the_figures_as_json_even_where_there_are_none(
    refused: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    ended, folder = refused
    figures = json.loads(ended.stdout, parse_constant=not_json)
    assert set(figures) == {*TITLES, "void", "lost", "folder", "conditions"}
    assert figures["folder"] == str(folder)
    assert figures["refused_per_s"] == summarize(Run(folder))["refused_per_s"] > 0
    assert figures["requests_per_s"] == 0
    assert figures["p50_ms"] is None


# What is not run.


def test_a_folder_that_exists_is_not_written_to(shared_server: Server, tmp_path: Path) -> None:
    place = ["--url", shared_server.url, "--folder", tmp_path]
    assert str(tmp_path) in complaint(invoke(command, "run", "reads", *place), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(shared_server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = ["--url", shared_server.url, "--folder", tmp_path / "file" / "run"]
    assert str(tmp_path / "file") in complaint(invoke(command, "run", "reads", *place), 1)


def test_without_a_service_it_says_so_in_one_line_and_leaves_no_folder(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert url in complaint(run("loadtests", "run", "reads", "--url", url, "--folder", tmp_path / "run"), 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "nonsense"])
def test_an_address_that_cannot_be_asked_is_named(tmp_path: Path, url: str) -> None:
    assert url in complaint(invoke(command, "run", "reads", "--url", url, "--folder", tmp_path / "run"), 1)


def test_another_service_is_not_loaded(tmp_path: Path) -> None:
    with answering(http("not here", 404)) as url:
        assert url in complaint(invoke(command, "run", "reads", "--url", url, "--folder", tmp_path / "run"), 1)


@pytest.mark.parametrize(
    ("arguments", "blamed"),
    [
        (["run", "nothing"], "nothing"),
        (["run", "reads", "--users", "0"], "--users"),
        (["run", "reads", "--seconds", "0"], "--seconds"),
        (["run", "reads", "--rate", "fast"], "--rate"),
        (["walk"], "walk"),
    ],
)
def test_bad_usage(arguments: list[str], blamed: str) -> None:
    assert blamed in complaint(invoke(command, *arguments), 2)
