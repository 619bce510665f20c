"""`python -m practice` as a learner runs it, on real servers that are right or wrong."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness import servers
from practice import hints, settings, stages
from practice.__main__ import command
from tests.commands import complaint
from tests.in_process import invoke
from tests.practice.conftest import NewFolder
from tests.processes import using
from tests.waiting import eventually

SCHEMA = json.loads((Path(stages.__file__).parent / "check.schema.json").read_text())


pytestmark = pytest.mark.timeout(400)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m practice` with `arguments` to its end; the servers are processes of their own."""
    return invoke(command, *arguments)


def check(*arguments: str | Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run `check --json`; its exit status, and the results by check."""
    ended = run("check", "--json", *arguments)
    assert ended.returncode in {0, 1}, ended.stderr
    document = json.loads(ended.stdout)
    jsonschema.validate(document, SCHEMA)
    checks = {each["id"]: each for stage in document["stages"] for each in stage["checks"]}
    for name, outcome in (("passed", "pass"), ("failed", "fail"), ("remarks", "remark")):
        assert document[name] == sum(each["outcome"] == outcome for each in checks.values())
    return ended.returncode, checks


def failed(checks: dict[str, dict[str, Any]]) -> list[str]:
    return [id for id, each in checks.items() if each["outcome"] == "fail"]


def refused(*arguments: str | Path, seconds: str = "20") -> str:
    """Run a check that cannot be asked, and return what it says."""
    ended = run("check", *arguments, "--stage", "1", "--start-seconds", seconds)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr.partition("its output:")[0]
    return ended.stderr


# Right and wrong servers.


def test_a_server_that_is_right_passes(new_folder: NewFolder) -> None:
    folder = new_folder()
    code, checks = check(folder, "--stage", "1", "--stage", "messages")
    assert (code, failed(checks)) == (0, [])
    assert {each["outcome"] for each in checks.values()} == {"pass"}
    assert not using(folder)


@pytest.mark.parametrize(
    ("right", "wrong", "caught"),
    [
        ("ORDER BY id DESC LIMIT", "ORDER BY id LIMIT", "messages.limit"),
        ('"text": text})\n\n    def answer', '"text": text.strip()})\n\n    def answer', "messages.whitespace"),
        ("except (ValueError, KeyError, TypeError, AttributeError)", "except KeyError", "messages.not_json"),
        ("AUTOINCREMENT", "", ""),  # an id is used again only after its message was deleted: this is right
    ],
)
def test_a_mistake_is_found(new_folder: NewFolder, right: str, wrong: str, caught: str) -> None:
    _, checks = check(new_folder(right, wrong), "--stage", "2")
    assert failed(checks) == [] if not caught else caught in failed(checks)


def test_a_failure_is_one_exchange(new_folder: NewFolder) -> None:
    folder = new_folder("ORDER BY id DESC LIMIT", "ORDER BY id LIMIT")
    ended = run("check", folder, "--stage", "2")
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert re.fullmatch(r"stage 2  messages +\d+ of 16", lines[0])
    assert [line.split()[0] for line in lines[1:7]] == ["✗", "asked", "answered", "expected", "why", "next"]
    assert "curl -s 'http://127.0.0.1:" in lines[2]
    assert lines[6].endswith("python -m practice hint messages.limit")
    assert "\x1b" not in ended.stdout


def test_what_the_server_printed_is_beside_the_failure(new_folder: NewFolder) -> None:
    folder = new_folder("except (ValueError, KeyError, TypeError, AttributeError)", "except KeyError")
    ended = run("check", folder, "--stage", "messages")
    assert "printed" in ended.stdout
    assert "JSONDecodeError: Expecting property name" in ended.stdout


def test_what_failed_can_be_repeated(new_folder: NewFolder) -> None:
    folder = new_folder("ORDER BY id DESC LIMIT", "ORDER BY id LIMIT")
    said = run("check", folder, "--stage", "2").stdout
    (line,) = re.findall(r"to repeat it by hand, .*: cd (.*)", said)
    command = line.partition(" && ")[2].split()
    asked = re.search(r"curl -s '(http://127\.0\.0\.1:\d+)(\S+)'", said)
    assert asked is not None
    port = asked[1].rpartition(":")[2]
    assert command[command.index("--port") + 1] == port
    again = [word if word != port else "{port}" for word in command]
    with (
        servers.running(again, folder / "log", cwd=folder) as server,
        servers.direct_session() as session,
    ):
        listed = session.get(server.url + asked[2], timeout=10).json()["messages"]
        assert listed
        assert listed[0]["text"] == re.findall(r'"text": "([^"]+)', said)[0]


def test_a_server_that_forgets_is_caught_by_kill(new_folder: NewFolder) -> None:
    later = "import threading\nwaiting = []\n"
    folder = new_folder("class Server(", later + "class Server(")
    source = (folder / "notes.py").read_text()
    source = source.replace(
        'execute("INSERT INTO visits DEFAULT VALUES")',
        'waiting.append(1); threading.Timer(0.3, execute, ["INSERT INTO visits DEFAULT VALUES"]).start()',
    )
    (folder / "notes.py").write_text(source)
    _, checks = check(folder, "--stage", "1")
    assert "scaffolding.kill" in failed(checks)


def test_a_promise_to_be_stale_is_kept_in_mind(new_folder: NewFolder) -> None:
    cached = (
        "            import time\n            key, now = int(limit), time.monotonic()\n"
        "            if now - Server.cache.get(key, (0, 0))[0] > 0.4:\n"
        '                rows = execute("SELECT id, text FROM messages ORDER BY id DESC LIMIT ?", int(limit))\n'
        "                Server.cache[key] = (now, rows)\n            rows = Server.cache[key][1]\n"
    )
    right = '            rows = execute("SELECT id, text FROM messages ORDER BY id DESC LIMIT ?", int(limit))\n'
    for stale_ms, caught in ((400, False), (0, True)):
        folder = new_folder(right, cached, more=f"[promises]\nstale_ms = {stale_ms}\n", name=f"stale{stale_ms}")
        source = (folder / "notes.py").read_text()
        (folder / "notes.py").write_text(
            source.replace("request_queue_size = 128", "request_queue_size = 128\n    cache = {}")
        )
        _, checks = check(folder, "--stage", "7")
        assert bool(failed(checks)) == caught, checks


def test_at_an_address_nothing_is_restarted(new_folder: NewFolder, tmp_path: Path) -> None:
    folder = new_folder()
    data = tmp_path / "data"
    data.mkdir()
    command = settings.of_folder(folder).command or ""
    with servers.running(command, tmp_path / "log", data=data, cwd=folder) as server:
        code, checks = check("--url", server.url, "--stage", "1", "--stage", "2", "--stage", "5")
    assert code == 0
    assert checks["messages.kill"]["outcome"] == "not asked"
    assert "command is needed" in checks["messages.kill"]["expected"]
    assert checks["twilio.signed"]["outcome"] == "not asked"
    assert checks["messages.limit"]["outcome"] == "pass"


LOCKED = """    def do_GET(self):
        if self.headers.get("Authorization") != "Bearer locked-key":
            self.answer(401, {})
            return
"""


def test_a_server_that_wants_a_key_gets_it_and_nobody_else_sees_it(new_folder: NewFolder, tmp_path: Path) -> None:
    folder = new_folder("    def do_GET(self):\n", LOCKED)
    key = ("--header", "Authorization: Bearer locked-key")
    code, checks = check(folder, "--stage", "1", *key)
    assert (code, failed(checks)) == (0, [])
    told = run("check", folder, "--stage", "2", "--all", *key, "--json")
    assert "Authorization: …" in told.stdout
    assert "locked-key" not in told.stdout + told.stderr
    assert "401" in run("check", folder, "--stage", "1").stdout


# Servers that cannot be asked.


def test_a_folder_without_practice_toml(tmp_path: Path) -> None:
    assert "has no practice.toml" in refused(tmp_path)


def test_a_command_that_is_not_there(new_folder: NewFolder) -> None:
    assert refused(new_folder(command="no-such-program {port}")) == (
        "Error: no-such-program cannot be started: there is no such program\n"
    )


def test_a_server_that_ends_at_once(new_folder: NewFolder) -> None:
    said = refused(new_folder("options = parser.parse_args()", "options = parser.parse_arguments()"))
    assert "the server ended with exit code 1; its output:" in said
    assert "has no attribute 'parse_arguments'" in said


def test_a_server_that_never_gets_ready(new_folder: NewFolder) -> None:
    folder = new_folder(
        ".serve_forever()", ".handle_timeout(); import time; print('dreaming', flush=True); time.sleep(60)"
    )
    said = refused(folder, seconds="1")
    assert "no response to GET / within 1 s" in said
    assert "dreaming" in said
    assert not using(folder)


def test_a_server_that_answers_garbage(new_folder: NewFolder) -> None:
    folder = new_folder("        self.send_response(status)\n        self.end_headers()\n", "")
    assert "no response to GET / within 1 s" in refused(folder, seconds="1")


def test_a_daemon_is_found_and_killed(new_folder: NewFolder) -> None:
    """The command ends at once, and what it started has left its session: it is told so, and nothing stays."""
    fork = "import os, sys, time\nif os.fork(): sys.exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(1)\n"
    folder = new_folder(
        'execute("CREATE TABLE IF NOT EXISTS visits', fork + 'execute("CREATE TABLE IF NOT EXISTS visits'
    )
    assert "the server ended with exit code 0" in refused(folder)
    eventually(lambda: not using(folder))


def test_a_port_that_is_taken(new_folder: NewFolder) -> None:
    taken = "import socket; taken = socket.create_server(('127.0.0.1', options.port))\nServer(("
    assert "Address already in use" in refused(new_folder("Server((", taken))


def test_a_tag_that_does_not_exist(new_folder: NewFolder) -> None:
    folder = new_folder(more='[stages.time]\nbefore = "git:stage-2"\n')
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    ended = run("check", folder, "--stage", "3")
    assert ended.returncode == 2
    assert "git knows no stage-2" in ended.stderr
    assert "git tag stage-2" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_stage_that_is_none() -> None:
    said = complaint(run("check", "--stage", "10"), 2)
    assert "there is no stage 10; the stages are 1 (scaffolding), 2 (messages)" in said


def test_two_targets_are_too_many(tmp_path: Path) -> None:
    ended = run("check", tmp_path, "--url", "http://127.0.0.1:1")
    assert complaint(ended, 2) == "Error: give one of: a folder, --command, --url"


def test_nobody_at_the_address() -> None:
    assert "the connection was refused" in refused("--url", "http://127.0.0.1:1")


def test_ctrl_c_leaves_nothing_running(new_folder: NewFolder) -> None:
    folder = new_folder()
    running = subprocess.Popen(
        [sys.executable, "-m", "practice", "check", folder, "--stage", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    eventually(lambda: [each for each in using(folder) if "notes.py" in each.info["cmdline"]])
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode != 0
    assert b"Traceback" not in said
    assert not using(folder)


# The other commands.


def test_every_check_has_hints_and_every_hint_a_check() -> None:
    ids = [check.id for stage in stages.STAGES for check in stage.checks]
    assert len(set(ids)) == len(ids)
    assert [id for id in ids if len(hints.of(id)) < 2] == []
    assert set(hints.all_of_them()) == set(ids)


def test_a_hint_goes_one_step_further_each_time(tmp_path: Path) -> None:
    said = [run("hint", "messages.limit", tmp_path).stdout for _ in range(4)]
    assert [line.rpartition("(")[2].strip() for line in said] == ["1 of 3)", "2 of 3)", "3 of 3)", "3 of 3)"]
    assert "DESC LIMIT" in said[2]
    assert "DESC LIMIT" not in said[0]


def test_a_hint_for_nothing() -> None:
    assert "there is no check messages.limits" in complaint(run("hint", "messages.limits"), 2)


def test_the_stages_are_listed_and_shown() -> None:
    listed = run("stages").stdout
    for stage in stages.STAGES:
        assert f"{stage.number}  {stage.name}" in listed
        shown = run("show", stage.name).stdout
        assert [check.id for check in stage.checks if check.id not in shown] == []


@pytest.mark.parametrize("language", ["python", "flask"])
def test_a_starter_answers(tmp_path: Path, language: str) -> None:
    folder = tmp_path / "mine"
    assert run("start", folder, "--language", language).returncode == 0
    _, checks = check(folder, "--stage", "1")
    assert checks["scaffolding.answers"]["outcome"] == "pass"
    assert "scaffolding.count" in failed(checks)
    again = run("start", folder)
    assert again.returncode == 2
    assert "has app.py already: name a new folder" in again.stderr


def test_the_report_tells_what_failed_and_when_it_first_passed(new_folder: NewFolder) -> None:
    folder = new_folder("ORDER BY id DESC LIMIT", "ORDER BY id LIMIT")
    run("check", folder, "--stage", "2")
    run("check", folder, "--stage", "1")
    ended = run("report", folder)
    page = Path(ended.stdout.strip()).read_text()
    assert page.count("<rect ") == 2
    assert re.search(r"<time>first passed \d{4}-\d\d-\d\d", page)
    assert "6 of 6" in page
    assert "the texts &#34;third&#34;, &#34;second&#34;, in this order" in page
    assert "<script" not in page
    assert "http" not in re.sub(r"<code>.*?</code>", "", page, flags=re.DOTALL)


def test_grading_goes_on_after_every_kind_of_failure(new_folder: NewFolder, tmp_path: Path) -> None:
    good = new_folder(name="good")
    broken = new_folder(command="no-such-program {port}", name="broken")
    slow = new_folder('execute("INSERT INTO visits DEFAULT VALUES")', "import time; time.sleep(200)", name="slow")
    (tmp_path / "empty").mkdir()
    ended = run("grade", broken, tmp_path / "empty", slow, good, "--stage", "1", "--seconds-each", "25")
    assert ended.returncode == 0, ended.stderr
    header, *rows = ended.stdout.splitlines()
    assert header.startswith("folder,scaffolding,messages,time,")
    assert "no-such-program cannot be started" in rows[0]
    assert "has no practice.toml" in rows[1]
    assert "it was stopped after 25 s" in rows[2]
    assert rows[3] == f"{good},6/6,,,,,,,,,6,0,0,0,"
    assert not using(tmp_path)
