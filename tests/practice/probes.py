"""What a server of the exercises must do, asked of a real one: a second opinion, apart from `practice`'s own checks.

Each probe gets a `Practised` server, starts it and fails with an assertion.
"""

import json
import os
import random
import shlex
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psutil
import requests
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator

from harness import processes, servers
from harness.threads import meanwhile

TOKEN, SECRET, PUBLIC = "12345678901234567890123456789012", "8f742231b10e8888abcd99yyyzzz85a5", "https://x.example:8443"
ENVIRONMENT = {
    "TWILIO_AUTH_TOKEN": TOKEN,
    "SLACK_SIGNING_SECRET": SECRET,
    "PUBLIC_BASE_URL": PUBLIC,
    "TZ": "Asia/Kathmandu",
    # The `python` of a command is the one that runs the tests.
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}
WRITERS = 64
LIMIT = 50


class Practised:
    """The server of `folder`, with its data in a folder that survives restarts."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.settings = tomllib.loads((folder / "practice.toml").read_text())
        self.stale = self.settings["promises"]["stale_ms"] / 1000
        self.data = scratch / "data"
        self.data.mkdir()
        self.log = scratch / "server.log"
        self.environment = dict(ENVIRONMENT)
        self.server: servers.Server | None = None
        self.was_started = False
        self.session = servers.direct_session()
        self.session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=WRITERS))

    def start(self, before: bool = False) -> None:
        """Start the server, or the one that was before stage 3."""
        folder = self.folder / self.settings["stages"]["time"]["before"] if before else self.folder
        self.server = servers.start(
            self.settings["server"]["command"],
            self.log,
            ready=self.settings["server"]["ready"],
            data=self.data,
            environment=self.environment,
            cwd=folder,
            seconds=30,
        )
        self.was_started = True

    def stop(self) -> None:
        if self.server is not None:
            processes.stop(self.server.program, 20)
            self.server = None

    def kill(self) -> None:
        assert self.server is not None
        processes.kill(self.server.program)
        self.server = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def migration(self) -> list[str] | None:
        """The command that migrates, if the server does not do it when it starts."""
        command = self.settings["stages"]["time"].get("migrate")
        return command and [word.replace("{data}", str(self.data)) for word in shlex.split(command)]

    def migrate(self) -> None:
        """Migrate to the end. The server is not running afterwards."""
        command = self.migration()
        if command is None:
            self.start()
            self.stop()
        else:
            subprocess.run(command, cwd=self.folder, env=os.environ | self.environment, check=True, timeout=60)

    def migrate_and_kill(self, changes: int) -> None:
        """Begin to migrate, and kill what does at the given change of the data, or when it has ended."""
        server = shlex.split(self.settings["server"]["command"])
        words = self.migration() or [word.replace("{data}", str(self.data)).replace("{port}", "0") for word in server]
        program = processes.start(words, self.log, environment=self.environment, cwd=self.folder)
        state, deadline = self.state(), time.monotonic() + 5
        while changes > 0 and program.is_running and time.monotonic() < deadline:
            if (now := self.state()) != state:
                state, changes = now, changes - 1
        processes.kill(program)

    def state(self) -> list[tuple[str, int, int]]:
        """The files of the data, with sizes and times of change."""
        found = []
        for path in self.data.rglob("*"):
            with suppress(OSError):  # it has just been removed
                found.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
        return found

    def ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        assert self.server is not None
        return self.session.request(method, self.server.url + path, timeout=10, **arguments)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, f"GET {path} {answer.status_code} {answer.text[:200]}"
        return answer.json()

    def post(self, text: str, **fields: Any) -> Any:
        answer = self.ask("POST", "/messages", json={"text": text, **fields})
        assert answer.status_code in (200, 201), f"{answer.status_code} {answer.text[:200]}"
        return answer.json()

    def texts(self, query: str = "?limit=1000") -> list[str]:
        time.sleep(self.stale)  # what it has promised, no more
        return [each["text"] for each in self.get("/messages" + query)["messages"]]

    def sms(self, fields: Mapping[str, str], signature: str | None = "right", url: str = PUBLIC) -> int:
        right = RequestValidator(TOKEN).compute_signature(url + "/sms", fields)
        given = right if signature == "right" else signature
        headers = {} if given is None else {"X-Twilio-Signature": given}
        return self.ask("POST", "/sms", data=fields, headers=headers).status_code

    def sms_answer(self, fields: Mapping[str, str]) -> requests.Response:
        """What a text is answered with."""
        signature = RequestValidator(TOKEN).compute_signature(PUBLIC + "/sms", fields)
        return self.ask("POST", "/sms", data=fields, headers={"X-Twilio-Signature": signature})

    def slack(
        self,
        text: str,
        age: float = 0,
        signature: str | None = None,
        secret: str = SECRET,
        timestamp: str | None = None,
    ) -> tuple[int, str, float]:
        """The status, what Slack would show, and how long it took."""
        fields = {
            "user_id": "U1",
            "user_name": "mia",
            "command": "/msg",
            "text": escaped(text),
            "trigger_id": str(random.random()),
            "response_url": "https://hooks.slack.com/commands/1/2/3",
        }
        body = urlencode(fields, quote_via=quote).encode()
        timestamp = timestamp or str(int(time.time() - age))
        right = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature or right or "",
        }
        began = time.monotonic()
        answer = self.ask("POST", "/slack/commands", data=body, headers=headers)
        with suppress(ValueError):
            return answer.status_code, json.dumps(answer.json(), ensure_ascii=False), time.monotonic() - began
        return answer.status_code, answer.text, time.monotonic() - began


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@contextmanager
def practised(folder: Path, scratch: Path) -> Iterator[Practised]:
    """The server of `folder`, not started yet; nothing of it is left running."""
    server = Practised(folder, scratch)
    try:
        yield server
    finally:
        server.session.close()
        if server.server is not None:
            server.kill()


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(work, range(count)))


# Stage 1.


def visits(server: Practised) -> None:
    server.start()
    before = server.get("/visits")["count"]
    for _ in range(3):
        server.get("/")
    assert server.get("/visits")["count"] == before + 3
    assert server.get("/visits")["count"] == before + 3


def visits_at_once(server: Practised) -> None:
    server.start()
    before = server.get("/visits")["count"]
    at_once(lambda _: server.get("/"), 200)
    assert server.get("/visits")["count"] == before + 200


def visits_last(server: Practised) -> None:
    server.start()
    for _ in range(5):
        server.get("/")
    count = server.get("/visits")["count"]
    server.restart()
    assert server.get("/visits")["count"] >= count


def nothing_left_running(server: Practised) -> None:
    server.start()
    assert server.server is not None
    main = psutil.Process(server.server.pid)
    family = [main, *main.children(recursive=True)]
    main.terminate()
    server.server.program.process.wait(20)
    _, left = psutil.wait_procs(family, timeout=5)
    processes.kill_all(left)
    server.server = None
    assert not left


# Stage 2.


def text_exact(server: Practised) -> None:
    server.start()
    said = [
        "  both sides  ",
        "a\r\nb\n",
        "emoji 🎉 é 漢",
        "\"quotes\" 'n' <b>&amp;</b>",
        "x" * 4000,
        "'); --",
        "tab\t\\n",
        "a+b%20c",
    ]
    for text in said:
        assert server.post(text)["text"] == text
    assert server.texts() == said[::-1]


def same_text(server: Practised) -> None:
    server.start()
    ids = {server.post("hello")["id"] for _ in range(3)}
    assert len(ids) == 3
    assert server.texts() == ["hello"] * 3


def limits(server: Practised) -> None:
    server.start()
    for number in range(25):
        server.post(str(number))
    assert server.texts("?limit=3") == ["24", "23", "22"]
    assert server.texts("?limit=22") == [str(number) for number in range(24, 2, -1)]


BAD_BODIES = (
    b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"text": null}', b'{"text": 3}', b'{"text": ""}', b'{"text": ["x"]}',
    b'{"text": "\xff"}', b'{"text": "\\ud800"}', b'{"text": NaN}', b"[" * 60_000,
    b'{"text": "' + b"x" * 200_000 + b'"}',
)  # fmt: skip


def identity(server: Practised) -> None:
    """What the answer to a POST says of a message, a list says too, also after a restart."""
    server.start()
    said = [server.post(text) for text in ("one", "two")][::-1]
    for _ in range(2):
        time.sleep(server.stale)
        shown = server.get("/messages?limit=2")["messages"]
        for field in ("id", "text", "created_at"):
            assert [each[field] for each in shown] == [each[field] for each in said]
        server.restart()


def bad_input(server: Practised) -> None:
    server.start()
    server.post("good")
    for body in BAD_BODIES:
        status = server.ask("POST", "/messages", data=body, headers={"Content-Type": "application/json"}).status_code
        assert 400 <= status < 500, (status, body[:40])
    for limit in ("0", "-1", "abc", "1.5", "", "99999999999999999999", "1e3", "%00"):
        assert server.ask("GET", f"/messages?limit={limit}").status_code < 500, limit
    assert server.texts() == ["good"]


def many_writers(server: Practised) -> None:
    server.start()
    answers = at_once(lambda number: server.post(f"text {number}"), 400)
    assert len({each["id"] for each in answers}) == 400
    assert sorted(server.texts()) == sorted(f"text {number}" for number in range(400))


def restart_keeps(server: Practised) -> None:
    server.start()
    before = [server.post(f"one {number}") for number in range(12)]
    server.restart()
    after = [server.post(f"two {number}") for number in range(12)]
    assert len({each["id"] for each in before + after}) == 24
    assert server.texts() == [each["text"] for each in (before + after)[::-1]]


def kill_while_writing(server: Practised) -> None:
    server.start()
    for attempt in range(3):
        acknowledged = write_until_killed(server, f"round {attempt}")
        assert acknowledged
        server.start()
        stored = server.texts()
        assert acknowledged <= set(stored)
        assert len(stored) == len(set(stored))


def write_until_killed(server: Practised, name: str) -> set[str]:
    acknowledged: set[str] = set()
    enough, url = threading.Event(), server.server.url if server.server else ""

    def write(writer: int) -> None:
        with servers.direct_session() as session, suppress(requests.RequestException):
            for number in range(1000):
                text = f"{name} {writer} {number}"
                if session.post(url + "/messages", json={"text": text}, timeout=10).ok:
                    acknowledged.add(text)
                if len(acknowledged) > 100:
                    enough.set()

    writers = [threading.Thread(target=write, args=[number]) for number in range(16)]
    for each in writers:
        each.start()
    enough.wait(20)
    server.kill()
    for each in writers:
        each.join()
    return acknowledged


# Stage 3.


def parsed(time: str) -> datetime:
    moment = datetime.fromisoformat(time)
    assert moment.tzinfo is not None, time
    return moment


def since(server: Practised) -> None:
    server.start()
    cuts, said = [], []
    for number in range(12):
        cuts.append(datetime.now(UTC))
        time.sleep(0.003)
        said.append(server.post(f"message {number}"))
        time.sleep(0.003)
        assert cuts[-1] - timedelta(milliseconds=2) <= parsed(said[-1]["created_at"]) <= datetime.now(UTC)
    for number, cut in enumerate(cuts):
        wanted = [each["text"] for each in said[number:]][::-1]
        for zone in (UTC, *(datetime.strptime(z, "%z").tzinfo for z in ("+0200", "-0730"))):
            moment = cut.astimezone(zone)
            assert server.texts(f"?limit=100&since={quote(moment.isoformat())}") == wanted, moment
        moment_z = said[number]["created_at"]
        assert server.texts(f"?limit=100&since={quote(moment_z)}") == wanted, moment_z
    assert server.texts(f"?limit=2&since={quote(said[3]['created_at'])}") == ["message 11", "message 10"]
    whole = cuts[0].replace(microsecond=0)
    assert len(server.texts(f"?limit=100&since={whole:%Y-%m-%dT%H:%M:%SZ}")) == len(said)
    for bad in (
        "yesterday",
        "2026-13-45T00:00:00Z",
        "",
        "12",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00%2B14:00",
    ):
        assert server.ask("GET", f"/messages?since={bad}").status_code < 500, bad


def one_millisecond(server: Practised) -> None:
    server.start()
    said = at_once(lambda number: server.post(str(number)), 200)
    for each in said[::20]:
        moment = parsed(each["created_at"])
        wanted = {other["id"] for other in said if parsed(other["created_at"]) >= moment}
        found = server.get(f"/messages?limit=1000&since={quote(each['created_at'])}")["messages"]
        assert {one["id"] for one in found} == wanted


def migration(server: Practised) -> None:
    old = fill(server)
    server.migrate()
    check_migrated(server, old)
    new = [server.post("new")["id"]]
    server.stop()
    server.migrate()
    check_migrated(server, old, new)


def migration_honest(server: Practised) -> None:
    fill(server)
    stopped = datetime.now(UTC)
    server.migrate()
    server.start()
    for each in server.get("/messages?limit=1000")["messages"]:
        assert each["created_at"] is None or parsed(each["created_at"]) <= stopped


def migration_killed(server: Practised) -> None:
    old = fill(server)
    for changes in (1, 2, 3, 5, 8):
        server.migrate_and_kill(changes)
    server.migrate()
    check_migrated(server, old)


def fill(server: Practised) -> list[Any]:
    server.start(before=True)
    texts = [f"old {number} 🎉" for number in range(100)]
    old = [server.post(text) for text in texts]
    old += at_once(lambda number: server.post(f"old {number} \n"), 300)
    old = server.get("/messages?limit=1000")["messages"]
    assert len(old) == 400
    server.stop()
    return old


def check_migrated(server: Practised, old: list[Any], new: Sequence[Any] = ()) -> None:
    server.start()
    time.sleep(server.stale)
    shown = server.get("/messages?limit=1000")["messages"]
    assert [each["id"] for each in shown] == [*new[::-1]] + [each["id"] for each in old]
    assert [each["text"] for each in shown[len(new) :]] == [each["text"] for each in old]
    for each in shown:
        assert each["created_at"] is None or parsed(each["created_at"]) <= datetime.now(UTC)


# Stage 4.


def replies(server: Practised) -> None:
    server.start()
    parent, other = server.post("parent"), server.post("other")
    said = [server.post(f"reply {number}", reply_to=parent["id"]) for number in range(3)]
    server.post("elsewhere", reply_to=other["id"])
    assert said[0]["reply_to"] == parent["id"]
    assert server.get(f"/messages/{said[0]['id']}")["replies"] == []
    for _ in range(2):
        found = server.get(f"/messages/{parent['id']}")
        assert (found["id"], found["text"]) == (parent["id"], "parent")
        assert [each["text"] for each in found["replies"]] == ["reply 0", "reply 1", "reply 2"]
        server.restart()


def unknown_parent(server: Practised) -> None:
    server.start()
    message = server.post("x")
    unknown = 987654321 if isinstance(message["id"], int) else message["id"][:-4] + "ffff"
    for bad in (unknown, "nobody", True, 1.5, {}, [], 10**30, -1):
        status = server.ask("POST", "/messages", json={"text": "x", "reply_to": bad}).status_code
        assert 400 <= status < 500, (bad, status)
    for bad in (unknown, "nobody", "NaN", "1.5", "%00", 10**30):
        status = server.ask("GET", f"/messages/{bad}").status_code
        assert 400 <= status < 500, (bad, status)
    assert server.texts() == ["x"]


# Stage 5.


def form(text: str) -> dict[str, str]:
    sid = "SM" + "".join(random.choices("0123456789abcdef", k=32))
    return {
        "ToCountry": "US",
        "FromCity": "",
        "MessageSid": sid,
        "From": "+15005550006",
        "To": "+1500",
        "Body": text,
        "NumMedia": "0",
    }


def sms_signed(server: Practised) -> None:
    server.start()
    for text in ("hello", "1+1=2 & more", "🎉 é", "  two  "):
        assert server.sms(form(text)) in (200, 204)
        assert server.texts("?limit=1")[0] == text


def sms_sent_twice(server: Practised) -> None:
    server.start()
    fields = form("once")
    assert [server.sms(fields), server.sms(fields)] == [200, 200]
    assert server.texts() == ["once"]
    assert server.sms(form("")) < 500
    answer = server.sms_answer(form("answered"))
    assert answer.headers["Content-Type"].startswith("text/xml")


def sms_forged(server: Practised) -> None:
    server.start()
    fields = form("forged")
    other = RequestValidator(TOKEN[::-1]).compute_signature(PUBLIC + "/sms", fields)
    changed = RequestValidator(TOKEN).compute_signature(PUBLIC + "/sms", fields | {"Body": "true"})
    empty = RequestValidator("").compute_signature(PUBLIC + "/sms", fields)
    for bad in (None, "", "nonsense", other, changed, empty, "é".encode().decode("latin-1")):
        assert 400 <= server.sms(fields, bad) < 500, bad
    assert 400 <= server.sms(fields, url="https://elsewhere.example") < 500
    assert server.texts() == []


# Stage 6.


def slack_commands(server: Practised) -> None:
    server.start()
    for text in ("hello", "a <b> & 'c' &lt;", "🎉 two  words"):
        status, _, seconds = server.slack(f"send {text}")
        assert status == 200
        assert seconds < 3
        assert server.texts("?limit=1")[0] == text
    for number in range(5):
        server.post(f"listed-{number}")
    time.sleep(server.stale)
    status, shown, _ = server.slack("list 2")
    assert status == 200
    assert [f"listed-{number}" in shown for number in range(5)] == [False, False, False, True, True]
    server.post("<script>")
    time.sleep(server.stale)
    assert "&lt;script&gt;" in server.slack("list 1")[1]


def slack_forged(server: Practised) -> None:
    server.start()
    assert 400 <= server.slack("send forged", age=3600)[0] < 500
    assert 400 <= server.slack("send forged", secret=SECRET[::-1])[0] < 500
    assert 400 <= server.slack("send forged", signature="v0=1")[0] < 500
    assert 400 <= server.slack("send forged", signature="v0=" + "0" * 64)[0] < 500
    assert 400 <= server.slack("send forged", timestamp="noon")[0] < 500
    for words in ("dance", "list many", "list", "send", ""):
        assert server.slack(words)[0] < 500
    assert server.texts() == []


# Stage 7.


def reads_under_writes(server: Practised) -> None:
    """Lists that are read while others write are fresh, whole and in order."""
    server.start()
    for number in range(60):
        server.post(f"before {number}")
    acknowledged: list[tuple[float, str]] = []
    reads: list[tuple[float, int, list[str]]] = []
    end = time.monotonic() + 4

    def write(writer: int, ended: threading.Event) -> None:
        with servers.direct_session() as session:
            number = 0
            while not ended.is_set():
                text = f"{writer}-{number}"
                session.post(server.server.url + "/messages", json={"text": text}, timeout=10)
                acknowledged.append((time.monotonic(), text))
                number += 1
                time.sleep(random.random() * 0.03)

    def read(limit: int) -> None:
        with servers.direct_session() as session:
            while time.monotonic() < end:
                began = time.monotonic()
                answer = session.get(f"{server.server.url}/messages?limit={limit}", timeout=10)
                assert answer.status_code == 200, answer.text
                reads.append((began, limit, [each["text"] for each in answer.json()["messages"]]))

    with ExitStack() as writers, ThreadPoolExecutor(4) as pool:
        for writer in range(3):
            writers.enter_context(meanwhile(partial(write, writer)))
        list(pool.map(read, (10, 50, 10, 50)))
    order = server.texts("?limit=1000")
    position = {text: index for index, text in enumerate(order)}
    assert len(position) == len(order)
    assert len(order) == 1000 or {text for _, text in acknowledged} <= set(order)
    for began, limit, shown in reads:
        assert len(shown) == limit
        assert shown[0] in position
        first = position[shown[0]]
        assert shown == order[first : first + limit], "a list passes over messages, doubles some, or is out of order"
        due = [text for at, text in acknowledged if at < began - server.stale]
        newest = min((position[text] for text in due if text in position), default=len(order))
        assert first <= newest, "a list is older than was promised"


# Stage 8.


def storm(server: Practised) -> None:
    """At 5 times the limit as much as the limit is admitted, all of it stored; afterwards nobody is refused."""
    server.environment["WRITE_LIMIT"] = str(LIMIT)
    server.start()
    results: list[tuple[int, str, float]] = []
    for number in range(20):  # at half the limit nobody is refused
        assert server.ask("POST", "/messages", json={"text": f"calm {number}"}).status_code in (200, 201)
        time.sleep(2 / LIMIT)
    seconds, workers = 4.0, 25
    began = time.monotonic()

    def send(worker: int) -> None:
        with servers.direct_session() as session:
            for number in range(int(seconds * LIMIT * 5 / workers)):
                time.sleep(max(0.0, began + number * workers / LIMIT / 5 - time.monotonic()))
                text, asked = f"storm {worker} {number}", time.monotonic()
                answer = session.post(server.server.url + "/messages", json={"text": text}, timeout=30)
                results.append((answer.status_code, text, time.monotonic() - asked))
                assert answer.status_code != 429 or "Retry-After" in answer.headers

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(send, range(workers)))
    took = time.monotonic() - began
    assert {status for status, _, _ in results} <= {200, 201, 429}, {status for status, _, _ in results}
    admitted = {text for status, text, _ in results if status != 429}
    assert len(admitted) <= 1.1 * LIMIT * took + LIMIT, (len(admitted), took)
    if took < 1.5 * seconds:  # else this machine could not send five times the limit all the time
        assert len(admitted) >= 0.9 * LIMIT * took, (len(admitted), took)
    assert sorted(seconds for status, _, seconds in results if status != 429)[-5] < 2
    stored = server.texts()
    assert set(stored) - {f"calm {number}" for number in range(20)} == admitted
    time.sleep(4)
    assert [server.ask("POST", "/messages", json={"text": "after"}).status_code for _ in range(10)] == [201] * 10


PROBES: dict[str, Callable[[Practised], None]] = {
    each.__name__: each
    for each in (
        visits, visits_at_once, visits_last, nothing_left_running,
        identity, text_exact, same_text, limits, bad_input, many_writers, restart_keeps, kill_while_writing,
        since, one_millisecond, migration, migration_honest, migration_killed,
        replies, unknown_parent, sms_signed, sms_forged, sms_sent_twice, slack_commands, slack_forged,
        reads_under_writes, storm,
    )
}  # fmt: skip
