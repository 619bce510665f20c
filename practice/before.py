"""The server as it was before stage 3: fetch it, fill it with messages, and bring its data to the new one."""

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import processes
from harness.ports import accepts_connections, free_port
from harness.processes import Program, ProgramError
from practice import settings
from practice.concurrency import at_once
from practice.expectations import list_of_messages, message
from practice.server import Broken, Server
from practice.settings import FILE, SettingsError, Target

GIT = "git:"
MESSAGES = 240
WRITERS = 8
MIGRATE_SECONDS = 120.0
KILL_SECONDS = 10.0
# What is seldom in git, and needed to start: linked into the version that git gave.
INSTALLED = ("node_modules", ".venv", "venv", "vendor")


@dataclass(frozen=True)
class Old:
    """What the old server left: its data, its messages, newest first, and when it was stopped."""

    data: Path
    messages: list[dict[str, Any]]
    stopped: datetime


def old(server: Server) -> Old:
    """Run the version before, store messages in it, and stop it. Raises `SettingsError` if there is no such version."""
    place = server.data.parent
    target = version_before(server.target, place / "before")
    old_server = Server(target, replace(server.stage, environment={}), place / "before-data", server.log)
    try:
        old_server.start()
        texts = [f"old message {number:03} 🙂" for number in range(MESSAGES)]

        def write(writer: int) -> None:
            for text in texts[writer::WRITERS]:
                old_server.post("/messages", {"text": text}).expect(message(text))

        at_once(WRITERS, write)
        old_server.settle()
        listed = old_server.get("/messages?limit=1000").expect(list_of_messages()).messages
    except ProgramError as error:
        raise ProgramError(f"the version that [stages.time] before names does not run: {error}") from error
    finally:
        old_server.stop()
    return Old(old_server.data, listed or [], datetime.now(UTC))


def version_before(target: Target, folder: Path) -> Target:
    """The server that [stages.time] before names; one from git is written to `folder`. Raises `SettingsError`."""
    before = target.stages.time.before or ""
    if before.startswith(GIT):
        _checkout(target.folder, before.removeprefix(GIT), folder)
    else:
        folder = target.folder / before
        if not folder.is_dir():
            raise SettingsError(f"[stages.time] before: there is no folder {folder}")
    own = settings.of_folder(folder) if (folder / FILE).is_file() else target
    return replace(target, folder=folder, command=own.command, ready=own.ready)


@contextmanager
def migrated(server: Server, name: str, *, killed_at: int = 0) -> Iterator[Server]:
    """The new server on a copy of the old data while the block runs, after the data was brought along.

    If `killed_at` is not 0, that is begun once before, and killed (kill -9) at the `killed_at`-th change of the data.
    """
    left = server.once(old)
    new = server.beside(server.data.parent / name)
    shutil.rmtree(new.data, ignore_errors=True)
    shutil.copytree(left.data, new.data)
    try:
        if killed_at:
            _begin_and_kill(new, killed_at)
        migrate_and_start(new)
        yield new
    finally:
        new.stop()


def migrate_and_start(new: Server) -> None:
    """Bring the data of a server that is stopped along, and start it. Raises `Broken`."""
    _migrate(new)
    new.start_again()


def _migrate(new: Server) -> None:
    """Run the command that migrates to its end, if there is one: without one, the server migrates when it starts."""
    if new.target.stages.time.migrate is None:
        return
    program = _start_migrating(new, 0)
    try:
        returncode = program.process.wait(MIGRATE_SECONDS)
        said = "\n".join(program.last_lines(3))
    except subprocess.TimeoutExpired:
        returncode, said = -1, f"it still runs after {MIGRATE_SECONDS:g} s"
    finally:
        processes.kill(program)
    if returncode != 0:
        raise Broken(
            "the migration ends with exit status 0",
            asked=new.target.stages.time.migrate.replace("{data}", str(new.data)),
            answered=f"exit status {returncode}\n{said}",
        )


def _begin_and_kill(new: Server, killed_at: int) -> None:
    """Begin to migrate, and kill it at the `killed_at`-th change of its data, or when it has ended."""
    port = free_port()
    before, changes = _state(new.data), 0
    program = _start_migrating(new, port)
    deadline = time.monotonic() + KILL_SECONDS
    while changes < killed_at and program.is_running and time.monotonic() < deadline:
        state = _state(new.data)
        if state != before:
            before, changes = state, changes + 1
        elif accepts_connections(port):
            break  # a server that listens has done its work, or does it in the background
        time.sleep(0.0002)
    processes.kill(program)
    new.kill_strays()


def _start_migrating(new: Server, port: int) -> Program:
    command = new.target.stages.time.migrate or new.target.command or ""
    words = settings.filled(command, port, new.data)
    return processes.start(words, new.log, environment=new.environment(), cwd=new.target.folder)


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """The files in `folder`, with sizes and times of change."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  called thousands of times
            try:
                state = os.stat(path)  # noqa: PTH116
            except OSError:
                continue  # it has just been removed
            found.append((path, state.st_size, state.st_mtime_ns))
    return sorted(found)


def _checkout(repository: Path, reference: str, folder: Path) -> None:
    """Write the files of `repository` as they were at a tag or commit to `folder`."""
    try:
        result = subprocess.run(
            ["git", "archive", "--format=tar", reference], cwd=repository, check=False, capture_output=True
        )
    except OSError as error:
        raise SettingsError(f"[stages.time] before: git cannot be started: {error.strerror}") from error
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise SettingsError(
            f"[stages.time] before: git knows no {reference} in {repository} ({lines[0]}): "
            f"when stage 2 is done, commit it and run `git tag {reference}`"
        )
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        archive.extractall(folder, filter="data")
    for name in INSTALLED:
        if (repository / name).exists() and not (folder / name).exists():
            (folder / name).symlink_to(repository / name)
