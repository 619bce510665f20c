"""All that the measuring knows of the lab's own service: how it is started, and what it tells about itself.

To everything else in `loadtests` and `profiles` it is one server like any other.
"""

import atexit
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from harness import options, processes
from harness.processes import ProgramError
from harness.servers import Server
from loadtests.lab_scenarios import prepare

START_SECONDS = 90.0
STOP_SECONDS = 60.0
LISTENING = "listening on "
# A server that is measured shares the machine with what measures it, and must not outlive whoever started it.
DEFAULTS: Mapping[str, Any] = {"port": 0, "access_log": "off", "allow_profiling": "on", "until_stdin_closes": "on"}
# Settings that are passed as environment variables, because other users of the machine can read a command line.
SECRETS = frozenset(
    {
        "api_keys",
        "mongodb_uri",
        "slack_bot_token",
        "slack_signing_secret",
        "twilio_auth_token",
        "twilio_shared_key",
    }
)
# The service as a tutorial would write it: without all that makes it fast.
BASELINE: Mapping[str, Any] = {"cache": "off", "writes": "single", "fast_path": "off", "event_loop": "asyncio"}

# Metrics at /metrics.
LAG = "event_loop_lag_seconds"  # histogram: how late the event loop ran a timer
IN_FLIGHT = "http_requests_in_flight"  # gauge: requests inside the service
REQUESTS = "http_request_duration_seconds_count"
# What requests have spent their time on, together, so far. Several may wait for one operation, and each is counted.
REQUEST_SECONDS = "http_request_seconds_total"
DATABASE_SECONDS = "http_request_database_seconds_total"
QUEUE_SECONDS = "http_request_queue_seconds_total"
POOL_SECONDS = "http_request_pool_seconds_total"
CONNECTION_SECONDS = "http_request_connection_seconds_total"
UNSENT_SECONDS = "http_answers_unsent_seconds"
# How long operations have waited for a connection, and used it.
CONNECTION_WAIT = "database_connection_wait_seconds"
CONNECTION_USE = "database_connection_use_seconds"

# Of which part of the service a frame of a profile is, by its file: see `profiles.stacks`.
CATEGORIES: Sequence[tuple[str, str]] = (
    ("driver", r"\(server/store\.py"),
    ("JSON", r"\(server/api/(wire|parsing)\.py"),
    ("cache", r"\(server/(recent|timeline)\.py"),
    ("rate limit", r"\(server/admission\.py"),
    ("telemetry", r"\(server/telemetry\.py"),
    ("HTTP parsing", r"\(server/http1/"),
)
HANDLERS = r"\(server/"  # any other file of it

# Answers 200 as long as the process runs.
HEALTH_PATH = "/healthz"


@contextmanager
def running(log: Path | None = None, program: Sequence[str] = ("server",), **settings: Any) -> Iterator[Server]:
    """The service with `settings` (the names of its flags), while the block runs.

    What is not given comes from DEFAULTS, then from the LAB_ variables. Should the calling process be killed, the
    service stops too. `program` is the module that runs, with flags of its own before the service's: one that wraps
    `python -m server`. Raises `ProgramError`, also for a setting that the service does not know.
    """
    with tempfile.TemporaryDirectory(prefix="backend-lab-") as folder:
        server = start(log or Path(folder) / "server.log", program, **settings)
        try:
            yield server
        finally:
            stop(server)


def start(log: Path, program: Sequence[str] = ("server",), **settings: Any) -> Server:
    """Start the service and return when it listens: see `running`. To be stopped with `stop`."""
    command, environment = [sys.executable, "-m", *program], {}
    for name, value in {**DEFAULTS, **settings}.items():
        if name in SECRETS:
            environment[f"LAB_{name.upper()}"] = str(value)
        else:
            command += [f"--{name.replace('_', '-')}", str(value)]
    started = processes.start(command, log, environment=environment, pipes=True)
    assert started.process.stdout is not None
    try:
        said = processes.first_line(started.process.stdout, START_SECONDS)
    except BaseException:
        processes.kill(started)
        raise
    if not said.startswith(LISTENING):
        processes.kill(started)
        lines = started.last_lines()
        raise ProgramError(lines[-1].removeprefix("Error: ") if lines else "the server ended without a word")
    return Server(said.removeprefix(LISTENING), started)


def stop(server: Server) -> int:
    """Let the service finish what it has begun, and return its exit code. Killed if it takes too long."""
    return processes.stop(server.program, STOP_SECONDS)


def mongodb_uri() -> str:
    """The MongoDB that the LAB_ variables name, or the embedded one, kept running until this process ends.

    Raises `harness.mongod.MongodError`.
    """
    kept = options.from_environment().running()
    uri = kept.__enter__()
    # Only files are held open, and a process that is killed drops them too.
    atexit.register(kept.__exit__, None, None, None)
    return uri


def migrate(mongodb_uri: str, database: str) -> None:
    """Bring `database` up to date, with `python -m migrations up`. Raises `ProgramError`."""
    try:
        processes.run([sys.executable, "-m", "migrations", "up"], environment=options.variables(mongodb_uri, database))
    except ProgramError as error:
        raise ProgramError(f"the database could not be brought up to date: {error}") from error


@dataclass(frozen=True)
class Lab:
    """The lab's own service as a target: at `address` (the settings that name its database), with `settings`."""

    address: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Run it while the block runs."""
        with running(**{**self.address, **self.settings}) as server:
            yield server


@contextmanager
def targets(variants: Mapping[str, Mapping[str, Any]], messages: int = 200) -> Iterator[dict[str, Lab]]:
    """The service with each of the settings, on one new database with `messages` messages, dropped afterwards."""
    with scratch_database("experiment") as (uri, name):
        address: dict[str, Any] = {"mongodb_uri": uri, "database": name}
        if messages:
            with running(**address) as plain:
                prepare(plain.url, messages)
        yield {variant: Lab(address, settings) for variant, settings in variants.items()}


@contextmanager
def scratch_database(prefix: str) -> Iterator[tuple[str, str]]:
    """A new, migrated database on `mongodb_uri()` while the block runs; gives the address and its name."""
    uri, name = mongodb_uri(), f"{prefix}_{secrets.token_hex(4)}"
    migrate(uri, name)
    try:
        yield uri, name
    finally:
        with MongoClient[dict[str, Any]](uri) as client:
            client.drop_database(name)
