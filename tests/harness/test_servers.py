"""Starting servers on free ports, waiting until they are ready, and stopping them."""

import socket
import sys
from pathlib import Path

import pytest
import requests

from harness import servers
from harness.processes import ProgramError
from tests.processes import using
from tests.strange_servers import answering, http

# Speaks HTTP/1.0, answers 503 to its first requests, and only then as it should.
SLOW = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    left = 3

    def do_GET(self):
        self.send_response(503 if Handler.left else 200)
        Handler.left = max(0, Handler.left - 1)
        self.end_headers()
        self.wfile.write(self.path.encode())

print("about to listen", flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SLOW)
    return path


def test_a_server_is_ready_within_the_block_and_stopped_afterwards(script: Path, tmp_path: Path) -> None:
    with servers.running(f"{sys.executable} {script} {{port}}", tmp_path / "log", ready="/here") as server:
        assert requests.get(f"{server.url}/here", timeout=10).text == "/here"
        assert using(script)
    assert not using(script)


def test_a_folder_can_be_named_in_the_command(tmp_path: Path) -> None:
    data = tmp_path / "with a space"
    command = [sys.executable, "-m", "http.server", "{port}", "--directory", "{data}"]
    data.mkdir()
    (data / "file").write_text("hello")
    with servers.running(command, tmp_path / "log", data=data) as server:
        assert requests.get(f"{server.url}/file", timeout=10).text == "hello"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no-such-program --port {port}", "no-such-program cannot be started"),
        (f"{sys.executable} -c 'print(\"why not\"); raise SystemExit(7)' {{port}}", r"(?s)exit code 7.*why not"),
        (f"{sys.executable} -c 'import time; time.sleep(600)' {{port}}", "no response to GET / within 0.5 s"),
        ("", "the command is empty"),
    ],
)
def test_a_server_that_does_not_start_is_an_error_and_leaves_no_process(command: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=why):
        servers.start(command, tmp_path / "log", seconds=0.5 if "sleep" in command else 30.0)
    assert not using(tmp_path)


def test_a_port_taken_by_another_program_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(http("not the one")) as other:
        monkeypatch.setattr(servers, "free_port", lambda: int(other.rpartition(":")[2]))
        command = [sys.executable, "-c", "import time; time.sleep(600)", "{port}"]
        with pytest.raises(ProgramError, match="another program"):
            servers.start(command, tmp_path / "log")


def test_proxies_are_ignored(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with servers.running([sys.executable, str(script), "{port}"], tmp_path / "log") as server:
            assert servers.direct_session().get(server.url, timeout=10).ok
