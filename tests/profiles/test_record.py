"""Recording a process with py-spy, and what it says when it may not or cannot."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from profiles import stacks
from profiles.record import ProfilerError, _why, record

# Root may look into everything, unless it gives up its rights; anybody else may not look into process 1.
WITHOUT_RIGHTS = ["setpriv", "--bounding-set", "-all"] if os.getuid() == 0 else []
RECORD = "import sys; from pathlib import Path; from profiles.record import record; record(1, 1, Path(sys.argv[1]))"


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that computes until it is stopped."""
    with subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_recording_knows_when_it_was_made(busy: subprocess.Popen[bytes], tmp_path: Path) -> None:
    # py-spy waits for random times between samples, so "1 s" may take 0.8 s or 1.2 s.
    before = time.time()
    recording = record(busy.pid, 1, tmp_path / "profile.raw")
    after = time.time()
    assert before <= recording.began < recording.began + recording.seconds <= after
    sampled = stacks.read(tmp_path / "profile.raw")["samples"].sum() / recording.rate
    assert 0 < sampled <= recording.seconds
    assert busy.poll() is None


def test_a_process_that_is_not_there(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(ProfilerError) as error:
        record(gone.pid, 1, tmp_path / "profile.raw")
    said = str(error.value)
    assert f"process {gone.pid}" in said
    assert "is running" in said
    assert "\n" not in said


def test_a_process_that_runs_no_python(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with pytest.raises(ProfilerError, match=f"process {process.pid}: .*python") as error:
                record(process.pid, 1, tmp_path / "profile.raw")
        finally:
            process.kill()
    assert "\n" not in str(error.value)


@pytest.mark.skipif(bool(WITHOUT_RIGHTS) and not shutil.which("setpriv"), reason="root cannot give up its rights here")
def test_without_the_right_to_trace_it_says_how_to_get_it(tmp_path: Path) -> None:
    command = [*WITHOUT_RIGHTS, sys.executable, "-c", RECORD, tmp_path / "profile.raw"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("profiles.record.ProfilerError: py-spy may not look into process 1: ")
    assert "sudo" in last if sys.platform == "darwin" else "--allow-profiling" in last
    assert not psutil.Process().children()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Error: Permission denied (os error 13)\n", "may not look into process 7"),
        ("Error: EPERM: Operation not permitted\n", "may not look into process 7"),
        ("Error: Failed to suspend process\nReason: Operation not permitted (os error 1)\n", "may not look into"),
        ("Error: Is a directory\n\nStack backtrace:\n   0: main\n", "could not record process 7: .*Is a directory$"),
        ("", "could not record process 7: it said nothing"),
    ],
)
def test_what_py_spy_says_becomes_one_line(said: str, expected: str) -> None:
    why = _why(7, said)
    assert re.search(expected, why)
    assert "\n" not in why
