"""The command `python -m profiles`."""

import json
import re
from pathlib import Path
from threading import Event

import pytest
import requests

from harness.ports import free_port
from harness.servers import Server
from harness.threads import meanwhile
from profiles import stacks
from profiles.__main__ import command
from tests.commands import complaint, run
from tests.in_process import invoke


def test_a_running_server_is_recorded(shared_server: Server, tmp_path: Path) -> None:
    raw = tmp_path / "new" / "profile.raw"
    ended = invoke(command, "record", "--url", shared_server.url, "--seconds", "1", "--raw", raw)
    assert ended.returncode == 0, ended.stderr
    first, *_, last = ended.stdout.splitlines()
    assert re.fullmatch(r"Python ran for [\d.]+ of [\d.]+ s", first)
    assert last == f"stacks: {raw}"
    assert raw.exists()


def test_a_recording_as_json(shared_server: Server, tmp_path: Path) -> None:
    raw = tmp_path / "profile.raw"

    def ask_on(ended: Event) -> None:
        while not ended.is_set():
            requests.get(f"{shared_server.url}/messages")

    with meanwhile(ask_on):
        ended = invoke(command, "record", "--url", shared_server.url, "--seconds", "1", "--raw", raw, "--json")
    assert ended.returncode == 0
    found = json.loads(ended.stdout)
    assert found["raw"] == str(raw)
    assert set(found["samples"]) <= set(stacks.ORDER)
    assert found["python_seconds"] > 0
    assert sum(found["samples"].values()) > 0


def test_without_a_server_it_says_so_in_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert url in complaint(run("profiles", "record", "--url", url, "--raw", tmp_path / "profile.raw"), 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:99999"])
def test_an_address_that_cannot_be_asked_is_named(tmp_path: Path, url: str) -> None:
    assert url in complaint(invoke(command, "record", "--url", url, "--raw", tmp_path / "profile.raw"), 1)


def test_a_file_that_cannot_be_written_is_named(shared_server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    raw = tmp_path / "file" / "profile.raw"
    assert str(raw) in complaint(invoke(command, "record", "--url", shared_server.url, "--raw", raw), 1)


@pytest.mark.parametrize(
    ("arguments", "blamed"),
    [(["record", "--seconds", "0"], "--seconds"), (["record", "--seconds", "long"], "--seconds"), (["guess"], "guess")],
)
def test_bad_usage(arguments: list[str], blamed: str) -> None:
    assert blamed in complaint(invoke(command, *arguments), 2)
