"""Starting programs, reading their output, and stopping them with their descendants."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness import processes
from harness.processes import Program, ProgramError
from tests.processes import is_running
from tests.waiting import eventually

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child when its parent dies")

# Says its own process id and those of two children; the second has left the session of its parent.
FAMILY = """
import os, subprocess, sys
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
print(os.getpid(), *(each.pid for each in children), flush=True)
children[0].wait()
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)"
)


def start(script: str, folder: Path, *, pipes: bool = False) -> Program:
    return processes.start([sys.executable, "-c", script], folder / "log", pipes=pipes)


def family_of(program: Program) -> list[psutil.Process]:
    return [psutil.Process(int(each)) for each in eventually(program.last_lines)[0].split()]


@pytest.mark.parametrize("end", [processes.stop, processes.kill])
def test_descendants_end_with_the_program(end: object, tmp_path: Path) -> None:
    program = start(FAMILY, tmp_path)
    family = family_of(program)
    assert callable(end)
    end(program)
    assert not any(map(is_running, family))


def test_stopping_returns_the_exit_code_and_can_be_repeated(tmp_path: Path) -> None:
    program = start("import sys; sys.exit(3)", tmp_path)
    program.process.wait()
    assert (processes.stop(program), processes.stop(program)) == (3, 3)
    assert not program.is_running


def test_a_program_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    program = start(STUBBORN, tmp_path)
    eventually(program.last_lines)
    assert processes.stop(program, seconds=0.2) == -signal.SIGKILL


@linux_only
def test_a_program_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = f"""
import pathlib, time
from harness import processes
processes.start({[sys.executable, "-c", FAMILY]!r}, pathlib.Path({str(tmp_path)!r}) / "log")
time.sleep(600)
"""
    starter = subprocess.Popen([sys.executable, "-c", script])
    log = tmp_path / "log"
    started = psutil.Process(int(eventually(lambda: log.exists() and log.read_text()).split()[0]))
    family = processes.descendants([started])
    starter.kill()
    starter.wait()
    eventually(lambda: not is_running(started))
    processes.kill_all(family)


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="no-such-program"):
        processes.start(["no-such-program"], tmp_path / "log")


def test_run_returns_stdout() -> None:
    assert processes.run([sys.executable, "-c", "print('hello')"]) == "hello\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; print('Error: no', file=sys.stderr); sys.exit(2)", "^no$"),
        ("import sys; sys.exit(2)", "^exit code 2, and no error message$"),
    ],
)
def test_run_raises_the_last_line_of_stderr(script: str, said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        processes.run([sys.executable, "-c", script])


def test_an_exit_code_can_be_accepted() -> None:
    assert processes.run([sys.executable, "-c", "print('no'); raise SystemExit(1)"], accept=(0, 1)) == "no\n"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("print('one'); print('two')", "one"),
        ("print('half', end='')", "half"),
        ("pass", ""),
        ("import time; time.sleep(600)", ""),
    ],
)
def test_first_line(script: str, line: str, tmp_path: Path) -> None:
    program = start(f"{script}", tmp_path, pipes=True)
    assert program.process.stdout is not None
    seconds = 0.1 if "sleep" in script else 20.0
    assert processes.first_line(program.process.stdout, seconds) == line
    processes.kill(program)


def test_the_environment_is_added_to_the_inherited_one(tmp_path: Path) -> None:
    script = "import os; print(os.environ['ADDED'], os.environ['PATH'])"
    program = processes.start([sys.executable, "-c", script], tmp_path / "log", environment={"ADDED": "yes"})
    program.process.wait()
    assert program.last_lines() == [f"yes {os.environ['PATH']}"]
