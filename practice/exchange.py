"""One request to a server and what came back, kept so that it can be repeated with curl."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

ANSWER_SECONDS = 20.0
MAX_ANSWER_BYTES = 16 * 2**20
SHOWN_CHARACTERS = 240
CHUNK = 65536
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """An HTTP request. `secret` are further headers, which are sent, and shown without their values."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)

    def document(self) -> Any:
        """The body as JSON. Raises `ValueError` if it is none."""
        return json.loads(self.body)

    def as_curl(self) -> str:
        """The command line that sends this request again. Bytes that no terminal shows come through `printf`."""
        words = ["curl -s" if self.method in {"GET", "POST"} else f"curl -s -X {self.method}", _quoted(self.url)]
        words += [f"-H {_quoted(f'{name}: {value}')}" for name, value in self.headers.items()]
        words += [f"-H {_quoted(f'{name}: …')}" for name in self.secret]
        if self.method != "POST":
            return " ".join(words)
        try:
            text = self.body.decode()
        except UnicodeDecodeError:
            octal = "".join(
                chr(each) if 32 < each < 127 and chr(each) not in "\\%'" else f"\\{each:03o}" for each in self.body
            )
            return f"printf '{octal}' | " + " ".join([*words, "--data-binary @-"])
        return " ".join([*words, f"--data-raw {_quoted(text)}"])


@dataclass(frozen=True)
class Answer:
    """What came back for a request. Without a whole answer `status` is 0, and `problem` says what happened instead.

    `begun` and `ended` are `time.monotonic()` when the request was sent and when the answer was complete.
    """

    request: Request
    begun: float
    ended: float
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def message(self) -> dict[str, Any] | None:
        """The body as one message: a JSON object with an id and a text. None if it is none."""
        return self.json if is_message(self.json) else None

    @property
    def messages(self) -> list[dict[str, Any]] | None:
        """The body as a list of messages, {"messages": [...]}; None if it is none."""
        return list_of_messages(self.json, "messages")

    @property
    def texts(self) -> list[str] | None:
        """The texts of the messages in the body, in its order."""
        return None if self.messages is None else [each["text"] for each in self.messages]

    def shown(self) -> str:
        """The answer in one short line: its status and the beginning of its body."""
        if self.problem:
            return self.problem
        body = re.sub(r"\s+", " ", self.text).strip()
        if len(body) > SHOWN_CHARACTERS:
            body = f"{body[:SHOWN_CHARACTERS]}… ({len(self.body)} bytes)"
        return f"{self.status}  {body or '(an empty body)'}"


def is_message(document: Any) -> bool:
    """Whether this is a JSON object with a text, and an id that is a number or a string."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("text"), str)
        and isinstance(document.get("id"), int | str)
        and not isinstance(document["id"], bool)
        and document["id"] != ""
    )


def list_of_messages(document: Any, name: str) -> list[dict[str, Any]] | None:
    """The list of messages in the field `name` of a JSON object; None if it has none."""
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, list) and all(is_message(each) for each in found) else None


def send(request: Request, seconds: float = ANSWER_SECONDS) -> Answer:
    """Send a request on a connection of its own and wait up to `seconds` for the whole answer. Never raises.

    Redirects are not followed, and no proxy is asked.
    """
    return send_together([request], seconds)[0]


def send_together(requests: Sequence[Request], seconds: float = ANSWER_SECONDS) -> list[Answer]:
    """Send requests as close together as can be, on connections that are open by then: see `send`."""
    calls = [_Call(each, seconds) for each in requests]
    for call in calls:
        call.connect()
    for call in calls:
        call.write()
    return [call.read() for call in calls]


class _Call:
    """One request on its way: connected, written, read. The first problem ends it."""

    def __init__(self, request: Request, seconds: float) -> None:
        self._request, self._seconds = request, seconds
        self._parts = urlsplit(request.url)
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(self._parts.hostname or "", self._parts.port, timeout=seconds)
        self._problem = ""
        self._begun = time.monotonic()

    def connect(self) -> None:
        with self._noting_problems():
            self._connection.connect()

    def write(self) -> None:
        with self._noting_problems():
            path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
            body = self._request.body if self._request.method == "POST" else None
            self._begun = time.monotonic()
            if not self._problem:
                self._connection.request(
                    self._request.method, path, body, {**self._request.headers, **self._request.secret}
                )

    def read(self) -> Answer:
        status, headers, body = 0, dict[str, str](), b""
        with self._noting_problems(), closing(self._connection):
            if not self._problem:
                connected = self._connection.sock  # which the connection forgets if the server is going to close it
                response = self._connection.getresponse()
                body = _read(response, connected, self._begun + self._seconds)
                status, headers = response.status, dict(response.headers)
        return Answer(self._request, self._begun, time.monotonic(), status, headers, body, self._problem)

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            self._problem = f"no whole answer within {self._seconds:g} s"
        except ConnectionRefusedError:
            self._problem = "nobody listens there: the connection was refused"
        except (OSError, http.client.HTTPException) as error:
            self._problem = _problem(error)


def _read(response: http.client.HTTPResponse, connected: socket.socket, deadline: float) -> bytes:
    """The body, although a server may send it byte by byte, or without end."""
    announced, received = response.length, bytearray()
    while announced is None or len(received) < announced:
        connected.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = response.read1(CHUNK)
        received += chunk
        if not chunk:
            break
        if len(received) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"the answer has more than {MAX_ANSWER_BYTES >> 20} MiB")
    if announced is not None and len(received) < announced:
        raise http.client.IncompleteRead(bytes(received), announced - len(received))
    return bytes(received)


def _problem(error: Exception) -> str:
    match error:
        case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
            return "the server closed the connection without an answer"
        case http.client.IncompleteRead():
            return f"the answer was cut off after {len(error.partial)} bytes"
        case http.client.BadStatusLine():
            return f"this is no HTTP answer: {str(error)[:80]}"
        case _:
            return f"no HTTP answer: {error}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
