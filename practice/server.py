"""The learner's server as a check sees it: ask it, restart it, kill it, and say what is expected of its answers."""

import json
import os
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests

from harness import processes, servers
from harness.processes import ProgramError
from practice import exchange
from practice.check import ANSWERS, BEFORE, LIMIT, RESTART, SLACK, TWILIO, Stage
from practice.exchange import JSON, Answer, Request
from practice.expectations import Expectation, message
from practice.settings import FILE, Target, filled, path_with_this_python

START_SECONDS = 90.0
STOP_SECONDS = 10.0
LINGER_SECONDS = 1.0
# A promise in time is held to with this much to spare: clocks tick, and machines are busy.
GRACE_SECONDS = 0.25
POLL_SECONDS = 0.02
# Its value in the environment of all that a learner's server starts tells which processes those are.
MARK = "PRACTICE_SERVER"
PUBLIC_BASE_URL = "https://messages.example.org:8443"

NO_HEADERS: Mapping[str, str] = {}

Made = TypeVar("Made")


class Broken(Exception):
    """An expectation that does not hold. `answer` is what came, or `asked` and `answered` say it in words."""

    def __init__(self, expected: str, answer: Answer | None = None, *, asked: str = "", answered: str = "") -> None:
        super().__init__(expected)
        self.expected, self.answer = expected, answer
        self.asked, self.answered = asked, answered


class NotAsked(Exception):
    """What a check needs was not to be had. The text says what."""


class Response:
    """What the server answered to one request, and what is expected of it."""

    def __init__(self, server: "Server", answer: Answer) -> None:
        self._server = server
        self.answer = answer

    def expect(self, *expectations: Expectation) -> Answer:
        """The answer, in which all of `expectations` hold. Raises `Broken` with the first that does not.

        A server that has promised no more than lists of a certain age is asked again until that age is over.
        """
        while broken := next((each for each in expectations if not each.holds(self.answer)), None):
            if self.answer.request.method != "GET" or not self._server.may_be_stale(self.answer):
                raise Broken(broken.words, self.answer)
            time.sleep(POLL_SECONDS)
            self.answer = self._server.send(self.answer.request).answer
        self._server.expected = "; ".join(each.words for each in expectations)
        return self.answer


class Server:
    """A server that is checked in one stage. `data` is the folder that survives its restarts.

    `log` is the file with all that it printed.
    """

    def __init__(
        self, target: Target, stage: Stage, data: Path, log: Path, start_seconds: float = START_SECONDS
    ) -> None:
        self.target, self.stage, self.data, self.log = target, stage, data, log
        self.promises = target.promises
        self.url = target.url or ""
        self.last: Answer | None = None
        self.expected = ""
        self.wrote_at = -float("inf")
        self._start_seconds = start_seconds
        self._running: servers.Server | None = None
        self._made: dict[str, Any] = {}
        self._mark = secrets.token_hex(8)
        known = os.environ if target.url else {}
        self.twilio_auth_token = known.get("TWILIO_AUTH_TOKEN", "" if target.url else secrets.token_hex(16))
        self.slack_signing_secret = known.get("SLACK_SIGNING_SECRET", "" if target.url else secrets.token_hex(16))
        self.public_base_url = known.get("PUBLIC_BASE_URL", target.url or PUBLIC_BASE_URL)

    # Asking.

    def get(self, path: str) -> Response:
        """Ask GET `path`, which begins with a slash."""
        return self.send(self.request("GET", self.url + path))

    def post(self, path: str, document: object) -> Response:
        """Send `document` as JSON to `path`."""
        return self.post_bytes(path, json.dumps(document, ensure_ascii=False).encode(), JSON)

    def post_bytes(self, path: str, body: bytes, headers: dict[str, str]) -> Response:
        """Send `body` as it is."""
        return self.send(self.request("POST", self.url + path, headers, body))

    def request(self, method: str, url: str, headers: Mapping[str, str] = NO_HEADERS, body: bytes = b"") -> Request:
        """A request with the headers that are sent with each one."""
        return Request(method, url, headers, body, self.target.headers)

    def deliver(self, prepared: requests.PreparedRequest) -> Response:
        """Send what Twilio or Slack would send, signed as they sign it."""
        body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
        headers = {name: value for name, value in prepared.headers.items() if name != "Content-Length"}
        return self.send(self.request("POST", str(prepared.url), headers, body))

    def send(self, request: Request) -> Response:
        """Send a request, and record it."""
        self.last = answer = exchange.send(request)
        if request.method == "POST":
            self.wrote_at = max(self.wrote_at, answer.ended)
        return Response(self, answer)

    def say_together(self, texts: Sequence[str]) -> list[Response]:
        """Post messages with these texts as close together as can be."""
        bodies = [json.dumps({"text": each}, ensure_ascii=False).encode() for each in texts]
        answers = exchange.send_together([self.request("POST", f"{self.url}/messages", JSON, body) for body in bodies])
        self.wrote_at = max(self.wrote_at, *(each.ended for each in answers))
        return [Response(self, each) for each in answers]

    def say(self, *texts: str) -> list[dict[str, Any]]:
        """Post messages with these texts one after the other; the messages as they were answered."""
        said = [self.post("/messages", {"text": each}).expect(message(each)) for each in texts]
        return [each.json for each in said]

    def may_be_stale(self, answer: Answer) -> bool:
        """Whether this answer may lack the last write, by what the server has promised."""
        return self.promises.stale_ms > 0 and answer.begun < self.wrote_at + self.stale_seconds

    @property
    def stale_seconds(self) -> float:
        """How old a list may be: what is promised, with a little to spare; 0 if no age is promised."""
        return self.promises.stale_ms / 1000 + GRACE_SECONDS if self.promises.stale_ms else 0.0

    def settle(self) -> None:
        """Wait until every list must show all that was written."""
        if self.promises.stale_ms:
            time.sleep(max(0.0, self.wrote_at + self.stale_seconds - time.monotonic()))

    def once(self, make: "Callable[[Server], Made]") -> Made:
        """What `make` returns for this server; it is called once in a stage, and remembered also if it raises."""
        if make.__name__ not in self._made:
            try:
                self._made[make.__name__] = make(self)
            except (Broken, NotAsked) as error:
                self._made[make.__name__] = error
        made = self._made[make.__name__]
        if isinstance(made, Broken | NotAsked):
            raise made
        return made  # type: ignore[no-any-return]

    # Running.

    def lacks(self, need: str) -> str:
        """What the server would have to have for a check that needs `need`; empty if it has it."""
        is_lacking, words = {
            RESTART: (self.target.command is None, "the server's command is needed, to start it again"),
            BEFORE: (self.target.stages.time.before is None, f"{FILE} does not say where your server of stage 2 is"),
            TWILIO: (not self.twilio_auth_token, "TWILIO_AUTH_TOKEN must be set here to what the server has"),
            SLACK: (not self.slack_signing_secret, "SLACK_SIGNING_SECRET must be set here to what the server has"),
            LIMIT: (self.target.command is None, "the server's command is needed, to start it with a WRITE_LIMIT"),
            ANSWERS: (not (self.target.folder / FILE).is_file(), f"{FILE} is needed: the answer stands there"),
        }[need]
        return words if is_lacking else ""

    @property
    def is_running(self) -> bool:
        """Whether the server has not ended. One at an address is taken to run."""
        return self.target.url is not None or (self._running is not None and self._running.program.is_running)

    def start(self) -> None:
        """Start the server on its data. Raises `ProgramError` with the last lines that it printed."""
        if self.target.url is not None:
            answer = exchange.send(self.request("GET", self.url + self.target.ready))
            if answer.problem:
                raise ProgramError(f"{self.url}: {answer.problem}")
            return
        assert self.target.command is not None
        self.data.mkdir(parents=True, exist_ok=True)
        self._running = servers.start(
            self.target.command,
            self.log,
            ready=self.target.ready,
            data=self.data,
            environment=self.environment(),
            cwd=self.target.folder,
            seconds=self._start_seconds,
        )
        self.url = self._running.url
        if not self.is_running:
            self.kill()
            raise ProgramError("the command ended, and what it started runs on: a server must stay in the foreground")

    def environment(self) -> dict[str, str | None]:
        """What the server gets in its environment, in this stage."""
        return {
            "PATH": path_with_this_python(),
            "PYTHONUNBUFFERED": "1",
            "TWILIO_AUTH_TOKEN": self.twilio_auth_token,
            "SLACK_SIGNING_SECRET": self.slack_signing_secret,
            "PUBLIC_BASE_URL": self.public_base_url,
            "WRITE_LIMIT": str(self.promises.write_limit) if self.stage.limited else None,
            MARK: self._mark,
            **self.stage.environment,
        }

    def cpu_seconds(self) -> float:
        """The processor time that the lab, and the server with all that it has started, have used so far."""
        used = [time.process_time()]
        for each in processes.carrying(MARK, self._mark):
            with suppress(psutil.Error):
                times = each.cpu_times()
                used.append(times.user + times.system)
        return sum(used)

    def start_again(self) -> None:
        """Start a server that has ended on the data that it left. Raises `Broken` if it does not start."""
        try:
            self.start()
        except ProgramError as error:
            first, _, rest = str(error).partition("\n")
            raise Broken(
                "the server starts again on the data that it left",
                asked=self.command_line(),
                answered=f"{first}\n{rest}",
            ) from error

    def restart(self) -> None:
        """End the server as a deployment would (SIGTERM), and start it again on its data."""
        self.stop()
        self.start_again()

    def crash(self) -> None:
        """Kill the server (kill -9), and start it again on its data."""
        self.kill()
        self.start_again()

    def stop(self) -> list[str]:
        """Ask the server to end (SIGTERM), and kill what is left; the names of the processes that were left."""
        if self._running is not None:
            processes.end(self._running.program.process, STOP_SECONDS)
        deadline = time.monotonic() + LINGER_SECONDS
        while (left := processes.carrying(MARK, self._mark)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        names = [_name(each) for each in left]
        self.kill()
        return names

    def kill(self) -> None:
        """Kill the server and all that it has started (kill -9), at once."""
        if self._running is not None:
            processes.kill(self._running.program)
        self.kill_strays()

    def kill_strays(self) -> None:
        """Kill what the server has started and what has left its session, as daemons do."""
        processes.kill_all(processes.carrying(MARK, self._mark))

    def beside(self, data: Path) -> "Server":
        """Another one of this server, not started yet, on a data folder of its own."""
        return Server(self.target, self.stage, data, self.log, self._start_seconds)

    def command_line(self) -> str:
        """The command line that starts this server again on its data and port, to repeat by hand what was asked."""
        if self.target.command is None:
            return ""
        port = self.url.rpartition(":")[2] or "8000"
        words = filled(self.target.command, port, self.data)
        return f"cd {shlex.quote(str(self.target.folder))} && {shlex.join(words)}"


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return str(process.pid)
