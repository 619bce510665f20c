"""Any service: runs, comparisons and profiles of servers that are not the lab's, from a folder of the user's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes import ProgramError
from harness.servers import direct_session
from loadtests import targets
from loadtests.targets import Command, Elsewhere

FLASK = """
from flask import Flask, jsonify

app = Flask(__name__)


@app.get("/items")
def items():
    return jsonify(items=[1, 2, 3])
"""
NODE = """
require("http").createServer((request, response) => {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ items: [1, 2, 3] }));
}).listen(Number(process.argv[2]), "127.0.0.1");
"""
PLAIN = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"items": [1, 2, 3]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments): ...


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SCENARIOS = """
def browse(session):
    assert session.get("/items").json()["items"] == [1, 2, 3]
"""
GUNICORN = f"{sys.executable} -m gunicorn shop:app --bind 127.0.0.1:{{port}} --threads 4 --no-control-socket"
COMMANDS = {
    "flask": f"{GUNICORN} --max-requests 40",  # which renews its worker again and again
    "node": "node shop.js {port}",
    "plain": f"{sys.executable} plain.py {{port}}",
}
SHORT = ["--users", "2", "--rate", "200", "--seconds", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three services, and a scenario for them."""
    made = tmp_path_factory.mktemp("shop")
    for name, text in (("shop.py", FLASK), ("shop.js", NODE), ("plain.py", PLAIN), ("use.py", SCENARIOS)):
        (made / name).write_text(text)
    return made


def measured(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the lab in the folder, as somebody who has installed it."""
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder, check=False, capture_output=True, text=True, timeout=250, env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip


def command_of(kind: str) -> str:
    if kind == "node" and shutil.which("node") is None:
        pytest.skip("node is not installed")
    return COMMANDS[kind]


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_run_on_a_service_of_any_kind(folder: Path, tmp_path: Path, kind: str) -> None:
    place = ["--folder", str(tmp_path / "run"), "--json", "--markdown", str(tmp_path / "summary.md")]
    fail_if = ["--fail-if", "failed_per_s > 0", "--fail-if", "server_us > 10000000"]
    start = ["--start", command_of(kind), "--ready", "/items"]
    ended = measured(folder, "loadtests", "run", "use.py:browse", *start, *SHORT, *place, *fail_if)
    figures = json.loads(ended.stdout)
    assert figures["lost"] == ""
    assert figures["server_us"] > 0
    assert figures["requests_per_s"] > 0
    assert figures["failed_per_s"] == 0
    verdicts = {each["verdict"] for each in figures["conditions"]}
    # A machine that is too busy voids the run, and then nothing can be told.
    assert (ended.returncode, verdicts) == ((3, {"cannot tell"}) if figures["void"] else (0, {"not met"}))
    assert "## use-browse" in (tmp_path / "summary.md").read_text()


def test_a_comparison_of_two_commands(folder: Path, tmp_path: Path) -> None:
    sides = ["--a", f"flask={COMMANDS['flask']}", "--b", f"plain={COMMANDS['plain']}", "--ready", "/items"]
    words = [*sides, *SHORT, "--rounds", "2", "--folder", str(tmp_path / "compare"), "--json"]
    ended = measured(folder, "loadtests", "compare", "use.py:browse", *words)
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["variants"] == ["flask", "plain"]
    assert document["metrics"]["server_us"]["pairs"] == 2


def test_a_capacity(folder: Path, tmp_path: Path) -> None:
    words = ["--start", COMMANDS["plain"], "--ready", "/items", "--seconds", "0.5", "--within", "0.001"]
    place = ["--folder", str(tmp_path / "capacity"), "--json"]
    ended = measured(folder, "loadtests", "capacity", "use.py:browse", *words, *place)
    assert json.loads(ended.stdout)["low"] == 0, ended.stderr


def test_a_diagnosis(folder: Path, tmp_path: Path) -> None:
    start = ["--start", COMMANDS["plain"], "--ready", "/items", "--folder", str(tmp_path / "diagnose")]
    ended = measured(
        folder, "profiles", "diagnose", "use.py:browse", *start, "--rate", "20", "--seconds", "1", "--no-test", "--json"
    )
    assert json.loads(ended.stdout)["verdict"], ended.stderr


def test_what_py_spy_cannot_do_is_said_and_the_kernel_asked(folder: Path) -> None:
    with Command(command_of("node"), ready="/items", cwd=folder).running() as server:
        ended = measured(folder, "profiles", "record", "--url", server.url, "--seconds", "1")
    assert ended.returncode == 0, ended.stderr
    assert "does not run Python" in ended.stderr
    assert "in system calls" in ended.stdout


# Targets.


def test_a_commit_of_a_repository_is_a_target(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com"]
    (repository / "plain.py").write_text(PLAIN)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=repository, check=True)
    (repository / "plain.py").write_text("raise SystemExit('this version does not run')")
    found = targets.parse("git:HEAD", start=COMMANDS["plain"], ready="/items", cwd=repository)
    with found.running() as server, direct_session() as session:
        assert session.get(f"{server.url}/items", timeout=10).json() == {"items": [1, 2, 3]}
    assert found.settings["revision"] == "HEAD"
    missing = targets.parse("git:nowhere", start=COMMANDS["plain"], cwd=repository)
    with pytest.raises(ProgramError, match="no commit nowhere"), missing.running():
        pass


def test_what_a_target_may_be() -> None:
    assert targets.parse("http://127.0.0.1:8000/") == Elsewhere("http://127.0.0.1:8000")
    assert targets.parse("python app.py {port}") == Command("python app.py {port}")
    with pytest.raises(ValueError, match="add --start"):
        targets.parse("git:HEAD")
    with pytest.raises(ValueError, match=r"write \{port\}"):
        targets.parse("python app.py 8000")
