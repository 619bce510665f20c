"""Measuring a learner's server: what is said of it, what is kept, and one run with real servers and a real Locust."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.mongod import MongodError
from harness.processes import ProgramError
from loadtests.capacity import Slo
from loadtests.run import RunError
from practice import charts, findings, measure, measured, settings
from practice.__main__ import command
from practice.measured import OURS, YOURS, Capacity, Verdict
from practice.settings import SettingsError
from practice.verdict import verdict
from tests.commands import complaint
from tests.in_process import invoke
from tests.practice.conftest import NewFolder
from tests.practice.example import MEASURED
from tests.processes import using
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)
LIMIT = 'rows = execute("SELECT id, text FROM messages ORDER BY id DESC LIMIT ?", int(limit))'


# In words.


def test_all_that_was_measured_is_said() -> None:
    said = "\n".join(findings.lines(MEASURED, "server"))
    assert "requests/s at which p95 < 50 ms" in said
    assert "reads   yours 140 to 180            the lab's at least 7,000\n" in said
    assert "writes  yours none found            the lab's 800 to 1,000\n" in said
    assert "reads, the lab's: Locust was it" in said
    assert "processor   2,346 server       – database,  latency   4,250" in said
    assert "your server takes 38.45 [30.10, 49.00] times the lab's processor time" in said
    assert "while it is read, by py-spy" in said
    assert "    900 µs  JSON" in said
    assert "33 µs below app.py:7 do_GET" in said


@pytest.mark.parametrize(
    ("slow", "inside", "guess", "ends"),
    [
        ("server", False, "server", "You said: the server, and that is right."),
        ("server", False, "database", "You said: the database, and that is not so."),
        ("database", False, "database", "You said: the database, and that is right."),
        ("server", True, "database", "It has no process of its own here, so its work is the server's."),
        ("server", True, "server", "You said: the server, and that is right."),
        ("", False, "server", "it cannot be told. Because. You said: the server."),
        ("server", False, None, "[answers] slow, in practice.toml."),
    ],
)
def test_the_verdict_stands_beside_what_the_learner_said(slow: str, inside: bool, guess: str | None, ends: str) -> None:
    found = Verdict.model_validate({"slow": slow, "why": "Because.", "inside": inside})
    assert findings.answer(found, guess).endswith(ends)
    assert "Because." in findings.answer(found, guess)


# The verdict.


def rounds(server: list[float], database: list[float], lost: str = "") -> pd.DataFrame:
    """Rounds at 100 requests/s in which a request took so many µs of the server and of its database."""
    cores = np.array(database) * 100 / 1e6
    nothing = np.full(len(server), np.nan)
    return pd.DataFrame(
        {
            "server_us": server,
            "mongod_cores": nothing,
            "database_cores": cores,
            "requests_per_s": 100.0,
            "lost": lost,
        }
    )


@pytest.mark.parametrize(
    ("server", "database", "slow"),
    [
        ([900.0, 950.0, 920.0], [300.0, 310.0, 290.0], "server"),
        ([300.0, 310.0, 290.0], [900.0, 950.0, 920.0], "database"),
        ([300.0, 900.0, 600.0], [900.0, 300.0, 610.0], ""),
        ([300.0], [900.0], ""),
        ([900.0, 950.0, 920.0], [0.0, 0.0, 0.0], "server"),
    ],
)
def test_what_works_longer_for_each_request_is_named_if_the_rounds_show_it(
    server: list[float], database: list[float], slow: str
) -> None:
    found = verdict(rounds(server, database), outside=True, sqlite_us=None)
    assert found.slow == slow
    assert "Processor time for each request:" in found.why
    assert not found.inside


def test_a_database_inside_the_server_is_told_from_one_that_cannot_be_seen() -> None:
    alone = rounds([900.0, 950.0], [np.nan, np.nan])
    inside = verdict(alone, outside=False, sqlite_us=310.0)
    assert (inside.slow, inside.inside) == ("server", True)
    assert "in SQLite for 310 µs" in inside.why
    assert "cannot be told apart" in verdict(alone, outside=False, sqlite_us=None).why
    assert "cannot be told apart" not in inside.why
    unseen = verdict(alone, outside=True, sqlite_us=None)
    assert (unseen.slow, unseen.inside) == ("", False)
    assert "cannot be seen" in unseen.why


def test_rounds_that_were_lost_say_nothing() -> None:
    lost = verdict(rounds([900.0], [300.0], "it ended"), outside=False, sqlite_us=None)
    assert (lost.slow, lost.why) == ("", "In no round was there anything to measure.")
    unanswered = rounds([900.0], [300.0]).assign(requests_per_s=0.0)
    assert verdict(unanswered, outside=False, sqlite_us=None).slow == ""
    nothing = rounds([np.nan, np.nan], [np.nan, np.nan])
    assert "not on this machine" in verdict(nothing, outside=False, sqlite_us=None).why


@pytest.mark.parametrize(("stale_ms", "busy", "notes"), [(0, 0.1, 1), (0, 0.9, 2), (300, 0.9, 3)])
def test_what_no_figure_shows_is_noted(new_folder: NewFolder, stale_ms: int, busy: float, notes: int) -> None:
    target = settings.of_folder(new_folder(more=f"[promises]\nstale_ms = {stale_ms}\n"))
    said = list(measure._notes(target, busy))
    assert len(said) == notes
    assert any("90% of this machine" in each for each in said) == (busy == 0.9)
    assert any("may be 300 ms old" in each for each in said) == (stale_ms == 300)


# What is kept.


def test_what_was_measured_is_kept_for_the_report(tmp_path: Path) -> None:
    measured.save(MEASURED, tmp_path / "new")
    assert measured.load(tmp_path / "new") == MEASURED


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"slo": "p95"}', "\x00", MEASURED.model_dump_json()[:-5]])
def test_what_is_no_measurement_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / measured.FILE).write_text(text)
    assert measured.load(tmp_path) is None
    assert measured.load(tmp_path / "nowhere") is None


def test_the_command_shows_and_keeps_what_was_measured(new_folder: NewFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new_folder()
    monkeypatch.setattr(measure, "measure", lambda *_: MEASURED)
    shown = invoke(command, "measure", folder)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "140 to 180" in shown.stdout
    assert measured.load(folder / ".practice") == MEASURED
    assert json.loads(invoke(command, "measure", folder, "--json").stdout) == MEASURED.model_dump(mode="json")


@pytest.mark.parametrize("error", [RunError("no Locust"), MongodError("no mongod"), ProgramError("no server")])
def test_what_goes_wrong_is_one_message(
    new_folder: NewFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(measure, "measure", fail)
    assert str(error) in complaint(invoke(command, "measure", new_folder()), 2)


@pytest.mark.parametrize("flags", [["--seconds", "0"], ["--within", "soon"], ["--rounds", "3"]])
def test_bad_usage(new_folder: NewFolder, flags: list[str]) -> None:
    assert flags[0] in complaint(invoke(command, "measure", new_folder(), *flags), 2)


# Charts.


def test_capacities_stand_on_one_axis() -> None:
    chart = charts.capacities(MEASURED)
    assert chart.ticks == [(0.0, "100"), (50.0, "1,000"), (100.0, "10,000")]
    yours, ours = chart.groups["reads"]
    assert 0 < yours.x < ours.x < ours.x + ours.width <= 100.01
    assert (yours.open, ours.open) == (False, True)
    assert chart.groups["writes"][0].width == 0
    assert yours.colour != ours.colour


@pytest.mark.parametrize("low", [None, 0.5, 1.0, 100_000.0])
def test_any_capacity_has_a_place(low: float | None) -> None:
    both = {YOURS: Capacity(low=low, high=None), OURS: Capacity(low=low, high=None)}
    chart = charts.capacities(MEASURED.model_copy(update={"capacities": {"reads": both}}))
    for bar in chart.groups["reads"]:
        assert 0 <= bar.x <= bar.x + bar.width <= 100.01


# Real servers.


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m practice measure`."""
    command = [sys.executable, "-m", "practice", "measure", *map(str, arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False)


def command_in(folder: Path) -> str:
    """A command line that names its folder, by which its processes are found."""
    return f"{sys.executable} {folder / 'notes.py'} --port {{port}} --data {{data}}"


def test_a_server_is_measured_beside_the_labs(
    new_folder: NewFolder, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One scenario, one round and coarse steps: the way is the same, and the figures are worth nothing."""
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    monkeypatch.setattr(measure, "STEP", 4.0)
    monkeypatch.setattr(measure, "PROFILE_SECONDS", 1.0)
    folder = new_folder(command=command_in(tmp_path / "notes"), more="[promises]\nstale_ms = 300\n")
    said: list[str] = []
    target = settings.of_folder(folder)
    found = measure.measure(target, Slo(milliseconds=50), 1.0, said.append, rounds=1, scenarios=["mixed"])
    assert [line.partition("  ")[0] for line in said] == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert found.capacities["mixed"].keys() == {YOURS, OURS}
    cost = found.costs["mixed"]
    assert all((cost.server_us[name] or 0) > 0 for name in (YOURS, OURS))
    assert cost.database_us[YOURS] is None
    assert (cost.database_us[OURS] or 0) > 0
    assert found.where.parts
    assert (found.verdict.slow, found.verdict.inside) == ("server", True)
    assert any("300 ms old" in note for note in found.notes)
    assert list(findings.lines(found, None))
    assert not using(folder)


def test_a_server_that_fails_stage_2_is_not_measured(new_folder: NewFolder) -> None:
    folder = new_folder(LIMIT, 'rows = [(1, "always the same")]')
    ended = run(folder)
    assert (ended.returncode, ended.stdout) == (2, "")
    first, error = ended.stderr.splitlines()
    assert first == "1 of 8  does stage 2 pass?"
    assert error.startswith("Error: stage 2 must pass before a server is measured, and messages.stored fails (")
    assert error.endswith(f"python -m practice check {folder} --stage 2")
    assert not using(folder)


def test_a_server_that_does_not_start_is_not_measured(new_folder: NewFolder) -> None:
    ended = run(new_folder(command="no-such-program {port}"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1] == "Error: no-such-program cannot be started: there is no such program"


def test_a_server_that_refuses_to_be_filled_is_told_of(new_folder: NewFolder) -> None:
    target = settings.of_folder(new_folder("self.answer(201,", "self.answer(503,"))
    yours = measure.Filled(measure._learners(target, "mark"))
    with pytest.raises(SettingsError, match="503"), yours.running():
        pass


def test_ctrl_c_leaves_nothing_running(
    new_folder: NewFolder, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    folder = new_folder(command=command_in(tmp_path / "notes"))
    with subprocess.Popen(
        [sys.executable, "-m", "practice", "measure", folder], stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "1 of 8  does stage 2 pass?\n"
        assert running.stderr.readline() == "2 of 8  capacity, reads\n"
        eventually(lambda: [each for each in using(folder) if "--port" in each.info["cmdline"]])
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
    assert running.returncode != 0
    assert "Traceback" not in said
    assert not using(folder)
