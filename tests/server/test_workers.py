"""Many processes on one port: all answer, the dead are replaced, none is left."""

import re
import signal
from pathlib import Path

import psutil
import pytest
import requests

from harness.ports import free_port
from harness.processes import ProgramError
from harness.servers import Server
from loadtests import service
from tests.conftest import StartServer
from tests.processes import is_running, kill
from tests.waiting import eventually

WORKERS = 3


def workers(server: Server) -> dict[int, psutil.Process]:
    """All workers, by process id, once each of them has answered on a connection of its own."""
    found: dict[int, psutil.Process] = {}

    def all_have_answered() -> bool:
        pid = re.search(r"^worker_pid (\S+)", requests.get(f"{server.url}/metrics").text, re.MULTILINE)
        assert pid is not None
        number = int(float(pid[1]))
        found[number] = psutil.Process(number)
        return len(found) == WORKERS

    eventually(all_have_answered)
    return found


@pytest.fixture
def many(start_server: StartServer) -> Server:
    return start_server(workers=WORKERS)


def test_all_of_them_answer_and_see_each_other_s_messages(many: Server) -> None:
    assert many.pid not in workers(many)
    for number in range(30):
        stored = requests.post(f"{many.url}/messages", json={"text": f"number {number}"})
        seen = {"Lab-Seen": stored.headers["Lab-Seen"]}
        assert requests.get(f"{many.url}/messages?limit=1", headers=seen).json()["messages"] == [stored.json()]


def test_a_worker_that_dies_is_replaced_and_meanwhile_the_others_answer(many: Server) -> None:
    before = workers(many)
    killed = next(iter(before))
    kill(before[killed])
    assert requests.get(f"{many.url}/messages").status_code == 200
    assert len(set(workers(many)) - set(before)) == 1
    assert "is replaced" in many.log.read_text()
    assert service.stop(many) == 0


def test_nobody_is_left_when_it_stops(many: Server) -> None:
    family = psutil.Process(many.pid).children(recursive=True)
    assert len(family) >= WORKERS
    assert service.stop(many) == 0
    eventually(lambda: not any(is_running(each) for each in family))
    assert "Traceback" not in many.log.read_text()


def test_workers_do_not_outlive_a_parent_that_is_killed(many: Server) -> None:
    family = psutil.Process(many.pid).children(recursive=True)
    many.process.send_signal(signal.SIGKILL)
    eventually(lambda: not any(is_running(each) for each in family))


def test_workers_that_cannot_start_say_why(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="no MongoDB answers"):
        service.start(tmp_path / "log", workers=2, mongodb_uri=f"mongodb://127.0.0.1:{free_port()}/?timeoutMS=500")


def test_the_asyncio_loop_serves_too(start_server: StartServer) -> None:
    server = start_server(event_loop="asyncio", writes="single", driver="pymongo")
    assert requests.post(f"{server.url}/messages", json={"text": "x"}).status_code == 201
