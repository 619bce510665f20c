"""Runs of tests on mutants: each in a copy of the project, in a fork of a process that has imported large libraries."""

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from harness import processes

PYTEST = (
    *("--exitfirst", "--quiet", "--tb=short", "-p", "no:cacheprovider", "-p", "no:schemathesis"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # some plugins are imported already
)
TEST_SECONDS = 30  # for one test: a mutant that makes it hang is killed by that
POLL_SECONDS = 0.02
NOT_COPIED = shutil.ignore_patterns(".*", "report", "*.ipynb")


@dataclass(frozen=True)
class Job:
    """The tests, as arguments of pytest, that are to run while `module`, a path in the project, reads `source`."""

    module: str
    source: str
    tests: list[str]
    seconds: float  # the time limit


@dataclass(frozen=True)
class Ended:
    """The job with this number ended: whether all its tests passed, after how many seconds, and what pytest said."""

    number: int
    passed: bool
    seconds: float
    said: str


@dataclass
class Run:
    """A fork that runs tests, until `deadline` on the monotonic clock."""

    pid: int
    began: float
    deadline: float

    def passed(self) -> bool | None:
        """Whether all tests passed, None while they run. A run that is over its time limit is killed."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == pytest.ExitCode.OK
        if time.monotonic() > self.deadline:
            self.kill()
            return False
        return None

    def kill(self) -> None:
        """Kill the run and everything it has started, and wait for its end."""
        with suppress(psutil.NoSuchProcess):
            started = processes.descendants([psutil.Process(self.pid)])[1:]
            os.killpg(self.pid, signal.SIGKILL)
            processes.kill_all(started)
        os.waitpid(self.pid, 0)


class Copy:
    """A copy of `project` in the new `directory`, for one job at a time, whose tests get `environment`.

    The file `log` holds what pytest said of the last one.
    """

    def __init__(self, project: Path, directory: Path, environment: Mapping[str, str]) -> None:
        self._project = project
        self._directory = directory
        self._environment = environment
        self._moment = 0
        self._original = ""
        self.log = directory.with_suffix(".log")
        shutil.copytree(project, directory, ignore=NOT_COPIED)

    def start(self, job: Job) -> Run:
        """Run the job's tests in a fork of this process, in which the project's modules are those of the copy."""
        self._original = (self._directory / job.module).read_text()
        self._write(job.module, job.source)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            returncode = int(pytest.ExitCode.INTERNAL_ERROR)
            try:
                returncode = self._run_tests(job.tests)
            except BaseException:  # nothing of this process may go on in its fork
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(returncode)
        return Run(pid, began, began + job.seconds)

    def restore(self, job: Job) -> None:
        """Let the module that the last job changed be as it was."""
        self._write(job.module, self._original)

    def _write(self, module: str, source: str) -> None:
        path = self._directory / module
        path.write_text(source)
        self._moment += 1  # Python tells a compiled module that is out of date by its time in seconds, and its size
        os.utime(path, (self._moment, self._moment))

    def _run_tests(self, tests: Sequence[str]) -> int:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.chdir(self._directory)
        os.environ.update(self._environment, PYTHONPATH=str(self._directory))
        sys.path[:] = [str(self._directory), *(each for each in sys.path if each not in {"", str(self._project)})]
        ours = {each.parent.name for each in self._project.glob("*/__init__.py")}
        for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
            del sys.modules[name]
        temporary = self._directory.with_suffix(".tmp")
        return int(pytest.main([*PYTEST, f"--timeout={TEST_SECONDS}", f"--basetemp={temporary}", *tests]))


def run_all(jobs: Sequence[Job], copies: Sequence[Copy]) -> Iterator[Ended]:
    """Run all jobs, one in each of the copies at a time; gives each when it has ended."""
    free, waiting = list(copies), list(enumerate(jobs))[::-1]
    running: dict[int, tuple[Copy, Run]] = {}
    try:
        while waiting or running:
            while free and waiting:
                copy = free.pop()
                number, job = waiting.pop()
                running[number] = copy, copy.start(job)
            for number, (copy, run) in list(running.items()):
                passed = run.passed()
                if passed is not None:
                    del running[number]
                    copy.restore(jobs[number])
                    free.append(copy)
                    yield Ended(number, passed, time.monotonic() - run.began, copy.log.read_text())
            time.sleep(POLL_SECONDS)
    finally:
        for _, run in running.values():
            run.kill()
