"""Run the checks of a stage on a server, and say of each what came of it."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from practice.check import Check, Stage
from practice.exchange import Answer
from practice.results import CheckResult, Outcome, StageResult
from practice.server import START_SECONDS, Broken, NotAsked, Server
from practice.settings import Target

PRINTED_LINES = 6
PASTED_CHARACTERS = 600
# What frameworks print for every request tells nothing.
ACCESS_LOG = re.compile(r"HTTP/\d|^(INFO|DEBUG)\b|^\s*\* |WARNING: This is a development server")


def run_stage(
    target: Target,
    stage: Stage,
    *,
    start_seconds: float = START_SECONDS,
    each: Callable[[CheckResult], None] = lambda result: None,
) -> StageResult:
    """Start the server on an empty data folder, run all checks of `stage` on it, and stop it.

    `each` is called with every result as soon as there is one. The data of a stage in which something failed stays in
    `target.own_files`. Raises `ProgramError` if the server does not start.
    """
    begun = time.monotonic()
    kept = _new_folder(target.own_files / f"stage-{stage.number}")
    results, repeat = [], ""
    with _started(target, stage, kept, start_seconds) as server:
        for check in stage.checks:
            results.append(_run(check, server, kept))
            each(results[-1])
            if results[-1].outcome == "fail":
                repeat = repeat or server.command_line()
    if all(result.outcome != "fail" for result in results):
        shutil.rmtree(kept, ignore_errors=True)
    seconds = time.monotonic() - begun
    return StageResult(stage.number, stage.name, tuple(results), repeat, seconds)


@contextmanager
def _started(target: Target, stage: Stage, kept: Path, start_seconds: float) -> Iterator[Server]:
    """The server, running; stopped afterwards with all that it has started."""
    server = Server(target, stage, kept / "data", kept / "printed.log", start_seconds)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _run(check: Check, server: Server, kept: Path) -> CheckResult:
    server.last, server.expected = None, ""
    printed_before = server.log.stat().st_size if server.log.exists() else 0
    try:
        for need in check.needs:
            if lacking := server.lacks(need):
                raise NotAsked(lacking)
        if not server.is_running:
            server.start_again()
        check.run(server)
    except NotAsked as reason:
        return CheckResult(check.id, check.says, "not asked", "", "", f"not asked: {reason}", check.why)
    except Broken as broken:
        asked = _curl(broken.answer, kept, check.id) if broken.answer else broken.asked
        answered = broken.answer.shown() if broken.answer else broken.answered
        outcome: Outcome = "remark" if check.remark else "fail"
        printed = () if check.remark else _printed(server, printed_before)
        return CheckResult(check.id, check.says, outcome, asked, answered, broken.expected, check.why, printed)
    asked, answered = (_curl(server.last, kept, check.id), server.last.shown()) if server.last else ("", "")
    return CheckResult(check.id, check.says, "pass", asked, answered, server.expected, check.why)


def _curl(answer: Answer, kept: Path, name: str) -> str:
    """The command that repeats a request; a body that is too long for a line is put into a file."""
    line = answer.request.as_curl()
    if len(line) <= PASTED_CHARACTERS:
        return line
    path = kept / f"{name}.body"
    path.write_bytes(answer.request.body)
    return replace(answer.request, method="POST", body=b"").as_curl().replace("--data-raw ''", f"--data-binary @{path}")


def _printed(server: Server, since: int) -> tuple[str, ...]:
    """The last lines that the server printed since its log had `since` bytes."""
    if server.target.url is not None:
        return ()
    with server.log.open("rb") as log:
        log.seek(since)
        text = log.read().decode(errors="replace")
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not ACCESS_LOG.search(line)]
    if not server.is_running:
        lines.append("(the server has ended)")
    return tuple(lines[-PRINTED_LINES:])


def _new_folder(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    (path.parent / ".gitignore").write_text("*\n")
    return path
