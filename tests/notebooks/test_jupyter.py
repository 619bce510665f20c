"""`python -m notebooks jupyter` without a browser: starts for any user, keeps its token, and leaves nothing behind."""

import uuid
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from harness import processes
from harness.servers import direct_session
from notebooks import lab
from tests.notebooks import jupyterlab
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)


def ask(address: str, method: str, path: str, token: bool = True, **json: object) -> tuple[int, object]:
    """Ask the REST API of the JupyterLab at `address`; gives the status and the answer."""
    parts = urlsplit(address)
    headers = {"Authorization": f"token {parse_qs(parts.query)['token'][0]}"} if token else {}
    with direct_session() as session:
        url = f"{parts.scheme}://{parts.netloc}/api/{path}"
        answer = session.request(method, url, headers=headers, json=json or None, timeout=60)
        return answer.status_code, answer.json()


def test_it_starts_with_a_token_and_ends_with_all_it_has_started_twice(data_dir: Path) -> None:
    mark = uuid.uuid4().hex
    data_dir.mkdir()
    for _ in range(2):
        # As of a user who has none, or whose HOME is somebody else's.
        with jupyterlab.started(data_dir, HOME="/nonexistent", BACKEND_LAB_MARK=mark) as running:
            address = running.address()
            assert ask(address, "GET", "status")[0] == 200
            assert ask(address, "GET", "kernels", token=False)[0] == 403
            assert ask(address, "POST", "kernels", name="python3")[0] == 201
            assert running.ctrl_c() == 0
            assert "Traceback" not in running.text()
        eventually(lambda: not processes.carrying("BACKEND_LAB_MARK", mark))
        assert list(data_dir.glob("jupyter-*")) == []


def test_what_a_learner_does_there_changes_no_file_of_the_repository(data_dir: Path) -> None:
    name = "00_start.ipynb"
    before = (lab.NOTEBOOKS / name).read_bytes()
    data_dir.mkdir()
    with jupyterlab.started(data_dir) as running:
        _, opened = ask(running.address(), "GET", f"contents/{name}")
        assert isinstance(opened, dict)
        opened["content"]["cells"][2]["source"] = "def mine(): ..."
        assert ask(running.address(), "PUT", f"contents/{name}", type="notebook", content=opened["content"])[0] == 200
        assert running.ctrl_c() == 0
    assert "def mine" in (data_dir / "notebooks" / name).read_text()
    assert (lab.NOTEBOOKS / name).read_bytes() == before


def test_it_says_why_jupyterlab_did_not_start(data_dir: Path) -> None:
    data_dir.mkdir()
    with jupyterlab.started(data_dir, "--in-place") as running:
        running.address()
        port = str(urlsplit(running.address()).port)
        other = ["--ServerApp.port_retries=0", "--port", port]
        ended = jupyterlab.run(data_dir, *other)
        assert ended.returncode == 1
        (line,) = [each for each in ended.stderr.splitlines() if each.startswith("Error: ")]
        assert f"port {port}" in line
        assert "jupyter.log" in line
