"""The tasks of notebook 08: a question that tells two servers apart, and a server of one's own."""

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import requests

from harness.servers import direct_session
from loadtests import targets
from notebooks.your_turn.verdict import Verdict, not_yet, right, task
from practice import mutants, settings

WRONG = "since_compared_as_text"
MESSAGES = 3
TIMEOUT = 10.0


@task("a time with an offset, as since takes it, such as '2026-01-31T10:00:00+02:00'")
def tells_apart(since: str) -> Verdict:
    """Whether a server that compares `since` as text answers otherwise than one that is right."""
    with tempfile.TemporaryDirectory() as scratch:
        mutant = mutants.by_name(WRONG)
        mutant.write(Path(scratch) / "wrong")
        shutil.copytree(mutants.REFERENCES / mutant.reference, Path(scratch) / "right")
        lists = {name: _asked(Path(scratch) / name, since) for name in ("wrong", "right")}
    if lists["right"].status_code >= requests.codes.bad_request:
        return not_yet(f"a server that is right refuses it: {lists['right'].text}", "2026-01-31T10:00:00+02:00")
    seen = {name: answer.text.count('"text"') for name, answer in lists.items()}
    if seen["wrong"] != seen["right"]:
        return right(f"the one shows {seen['wrong']} messages, the other {seen['right']}")
    hint = "some minutes ago, as a clock two hours east of UTC shows it: as text it is later than now"
    return not_yet(f"both show {seen['right']} of {MESSAGES} messages", hint)


@task("python -m practice start my-server, in a terminal; then the folder's path")
def stage_one(folder: str | Path) -> Verdict:
    """Whether the server in `folder` passes the first stage of `python -m practice`."""
    command = [sys.executable, "-m", "practice", "check", str(Path(folder).expanduser()), "--stage", "1"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode == 0:
        return right("stage 1 is passed; next: python -m practice show 2")
    said = (ended.stdout or ended.stderr).strip()
    return not_yet(
        said, "python -m practice show 1 has the task, python -m practice hint CHECK one step more each time"
    )


def _asked(folder: Path, since: str) -> requests.Response:
    """What the server in `folder` answers to this `since`, when MESSAGES messages have just been stored."""
    command = settings.of_folder(folder).command
    assert command is not None
    with ExitStack() as running:
        url = running.enter_context(targets.Command(command, cwd=folder).running()).url
        session = running.enter_context(direct_session())
        for number in range(MESSAGES):
            session.post(f"{url}/messages", json={"text": f"message {number}"}, timeout=TIMEOUT)
        return session.get(f"{url}/messages", params={"since": since}, timeout=TIMEOUT)
