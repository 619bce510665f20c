"""Targets: the servers that are measured, each a URL, or a command that is started for it.

parse("http://127.0.0.1:8000")                              one that runs
parse("gunicorn shop:app -b 127.0.0.1:{port}")              a command; {port} stands for a free port
parse("git:HEAD~1", start="python app.py {port}")           the same command in another commit of this repository
"""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness import servers
from harness.processes import ProgramError

GIT = "git:"


class Running(Protocol):
    """A server that runs: its address, without a slash at the end, and the process that was started, if it was."""

    @property
    def url(self) -> str: ...

    @property
    def pid(self) -> int | None: ...


class Target(Protocol):
    """A server to measure. `settings` tell what is special about it, for the record of a run."""

    @property
    def settings(self) -> Mapping[str, Any]: ...

    def running(self) -> AbstractContextManager[Running]:
        """Run the server while the block runs. Raises `ProgramError`."""


@dataclass(frozen=True)
class Elsewhere:
    """A server that was started by somebody else; it runs as long as they like."""

    url: str
    pid: int | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"url": self.url}

    @contextmanager
    def running(self) -> Iterator[Running]:
        yield self


@dataclass(frozen=True)
class Command:
    """A server that `command` starts, in the folder `cwd`; ready when it answers GET `ready` with less than 500.

    `environment` is added to that of this process; None removes a variable.
    """

    command: str
    environment: Mapping[str, str | None] = field(default_factory=dict)
    ready: str = "/"
    cwd: Path | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"command": self.command} | ({"environment": sorted(self.environment)} if self.environment else {})

    @contextmanager
    def running(self) -> Iterator[Running]:
        with tempfile.TemporaryDirectory(prefix="backend-lab-") as folder:
            data = Path(folder) / "data"
            data.mkdir()
            log = Path(folder) / "server.log"
            with servers.running(
                self.command, log, ready=self.ready, data=data, environment=self.environment, cwd=self.cwd
            ) as server:
                yield server


@dataclass(frozen=True)
class Commit:
    """A server that `command` starts in the files of the commit `revision` of the repository in `repository`."""

    revision: str
    command: Command
    repository: Path

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"revision": self.revision, **self.command.settings}

    @contextmanager
    def running(self) -> Iterator[Running]:
        with tempfile.TemporaryDirectory(prefix="backend-lab-") as folder:
            self._check_out(Path(folder))
            # First on the path of imports, before what may be installed from the working tree.
            environment = {"PYTHONPATH": folder, **self.command.environment}
            command = Command(self.command.command, environment, self.command.ready, Path(folder))
            with command.running() as server:
                yield server

    def _check_out(self, folder: Path) -> None:
        made = subprocess.run(
            ["git", "archive", "--format", "tar", self.revision], cwd=self.repository, check=False, capture_output=True
        )
        if made.returncode != 0:
            said = made.stderr.decode(errors="replace").strip().splitlines()
            raise ProgramError(f"git has no commit {self.revision} here: {said[0] if said else 'git said nothing'}")
        with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
            archive.extractall(folder, filter="data")


def parse(
    text: str, start: str = "", environment: Mapping[str, str] | None = None, ready: str = "/", cwd: Path | None = None
) -> Target:
    """The target that `text` names: a URL, a command, or git:REVISION of the repository here, started by `start`.

    Raises `ValueError` if it is none of these.
    """
    if text.startswith(("http://", "https://")):
        return Elsewhere(text.rstrip("/"))
    if text.startswith(GIT):
        if not start:
            raise ValueError(f"{text} needs the command that starts the server there: add --start")
        command = Command(_with_port(start), environment or {}, ready)
        return Commit(text.removeprefix(GIT), command, cwd or Path.cwd())
    return Command(_with_port(text), environment or {}, ready, cwd)


def _with_port(command: str) -> str:
    if "{port}" not in command:
        raise ValueError(f"the command {command!r} does not say where its port goes: write {{port}} there")
    return command
