"""The service does what `/openapi.json` says, and nothing else: schemathesis tries to prove the opposite."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from harness.servers import Server
from tests.conftest import StartServer

CONFIG = Path(__file__).parents[1] / "schemathesis.toml"


@pytest.mark.timeout(600)
def test_a_thousand_generated_requests_find_no_fault(server: Server, tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run"]
    command += [f"{server.url}/openapi.json", "--checks", "all", "--max-examples", "80", "--seed", "1"]
    result = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    generated = re.search(r"([\d,]+) generated", result.stdout)
    assert generated is not None, result.stdout
    assert int(generated[1].replace(",", "")) >= 1000, result.stdout
    assert "Traceback" not in server.log.read_text()


def test_it_describes_openapi_3_1_and_every_route(shared_server: Server) -> None:
    description = requests.get(f"{shared_server.url}/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    assert set(description["paths"]) == {
        "/", "/messages", "/messages/{id}", "/messages/{id}/replies", "/healthz", "/readyz", "/metrics"
    }  # fmt: skip
    limits = [
        each["schema"] for each in description["paths"]["/messages"]["get"]["parameters"] if each["name"] == "limit"
    ]
    assert [(limit["minimum"], limit["maximum"]) for limit in limits] == [(1, 1000)]


def test_it_asks_for_a_key_where_the_service_does(start_server: StartServer) -> None:
    server = start_server(api_keys="mia:a-key-of-mia")
    description = requests.get(f"{server.url}/openapi.json").json()
    assert description["security"] == [{"key": []}]
    assert description["paths"]["/healthz"]["get"]["security"] == []
